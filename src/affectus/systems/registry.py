"""Names of systems → their classes; the only importer of system files.

`index.json` holds all cards, so that listing needs neither torch nor the imports of every system; a test keeps it equal
to the cards in the files.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectus.errors import ConfigError
from affectus.systems.card import SystemCard

if TYPE_CHECKING:
    from affectus.systems.base import System

_NOT_SYSTEMS = {
    "__init__",
    "base",
    "branched",
    "captioning",
    "card",
    "generative",
    "native",
    "prediction",
    "registry",
    "reinforced",
}


def names() -> list[str]:
    """Names of all systems, sorted; needs no torch."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in _NOT_SYSTEMS)


@cache
def cards() -> dict[str, SystemCard]:
    """Cards of all systems by name; needs no torch."""
    record = json.loads((Path(__file__).parent / "index.json").read_text(encoding="utf-8"))
    return {name: SystemCard.from_dict(card) for name, card in record.items()}


def card(name: str) -> SystemCard:
    """The card of one system."""
    return cards()[_known(name)]


def stages(name: str) -> dict[str, type[System]]:
    """Stage → class of a system, the one that predicts last."""
    if find_spec("torch") is None:
        raise ConfigError(name, "needs torch, which is not installed", "pip install 'affectus[train]'")
    return import_module(f"affectus.systems.{_known(name)}").STAGES


def system_class(name: str, stage: str | None = None) -> type[System]:
    """The class of a system's stage; its last one by default."""
    found = stages(name)
    if stage is None:
        return list(found.values())[-1]
    if stage not in found:
        raise ConfigError(f"{name}/{stage}", "is no stage of it", f"stages are {', '.join(found)}")
    return found[stage]


def build(name: str, config: Any = None, stage: str | None = None, seed: int = 0) -> System:
    """A system with fresh weights; `config` is a Config, a mapping of its settings, or the name of a constructor."""
    import torch

    from affectus.systems.base import read_config

    kind = system_class(name, stage)
    if config is None:
        config = kind.Config()
    elif isinstance(config, str):
        if not callable(constructor := getattr(kind.Config, config, None)):
            raise ConfigError(f"{name}: {config}", "is no named configuration of it")
        config = constructor()
    elif isinstance(config, dict):
        config = read_config(kind.Config, config, name)
    torch.manual_seed(seed)
    return kind(config)


def load(name: str, weights: str | Path | None = None, stage: str | None = None) -> System:
    """A system ready to predict, with the weights of a folder written by `System.save`.

    Without `weights` it has fresh random ones (to be trained). Raises ConfigError or ModelError.
    """
    from affectus.systems.base import read_config

    if weights is None:
        return build(name, stage=stage).eval()
    path = Path(weights) / "config.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        named, config = record["system"], record["config"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            path, "is no readable config of a system", "give a folder written by affectus train"
        ) from error
    if named != name:
        raise ConfigError(path, f"belongs to {named}, not to {name}", f"load({named!r}, …)")
    kind = system_class(name, stage or record.get("stage"))
    return kind(read_config(kind.Config, config, str(path))).load_weights(weights).eval()


def write_index() -> Path:
    """Bring `index.json` up to date with the cards in the system files."""
    path = Path(__file__).parent / "index.json"
    record = {name: system_class(name).card.as_dict() for name in names()}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _known(name: str) -> str:
    if name not in names():
        raise ConfigError(name, "is no system", f"systems are {', '.join(names())}")
    return name

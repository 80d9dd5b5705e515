"""`affectus systems` and `affectus predict`: the published systems, listed and put to use."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectus.app.terminal import FAILED, print_json, print_table, say
from affectus.errors import ConfigError
from affectus.systems import registry
from affectus.systems.card import SystemCard
from affectus.types import Prediction

if TYPE_CHECKING:
    from affectus.systems.prediction import Predicted


def show_systems(as_json: bool) -> None:
    """A row per system; needs no torch."""
    cards = registry.cards()
    if as_json:
        print_json([card.as_dict() for card in cards.values()])
        return
    rows = [(c.name, c.title, ", ".join(c.modalities), c.perspective, c.task, _best(c), c.weights)
            for c in cards.values()]  # fmt: skip
    print_table(("system", "title", "modalities", "perspective", "task", "published", "weights"), rows)


def show_system(name: str, as_json: bool) -> None:
    """Everything the card of one system says."""
    card = registry.card(name)
    if as_json:
        print_json(card.as_dict())
        return
    record = {k: v for k, v in card.as_dict().items() if k != "published" and v}
    print_table(("", card.name), [(k, _plain(v)) for k, v in record.items()], card.title)
    rows = [(p.corpus, p.protocol, p.metric, p.value, p.source) for p in card.published]
    if rows:
        print_table(("corpus", "protocol", "metric", "value", "source"), rows, "Published results")


def predict(name: str, weights: Path, media: Sequence[Path], out: Path | None, as_json: bool) -> int:
    """Predict files with a trained system, turn by turn where they hold turns; a file that cannot be read is named and
    the rest goes on."""
    from affectus import media as reading
    from affectus.systems.prediction import predict as run

    system = registry.load(name, weights)
    files = reading.find_media(list(media))
    if not files:
        raise ConfigError(", ".join(map(str, media)), "holds no media file")
    records: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    warnings: list[str] = []
    for found in run(system, files, warnings=warnings):
        while warnings:
            say(f"warning: {warnings.pop(0)}")
        which = {"file": found.item, **_turn(found)}
        if found.prediction is None:
            failed.append({**which, "error": found.error})
            say(f"error: {found.error}" + (f" (turn {found.id})" if found.id else ""))
            continue
        records.append({**which, **_record(found.prediction)})
        if not as_json and out is None:
            print(_line(found, found.prediction))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_suffix(out.suffix + ".partial")
        partial.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
        partial.replace(out)
        print(out, file=sys.stderr)
    elif as_json:
        print_json({"system": name, "predictions": records, "failed": failed})
    return FAILED if failed else 0


def _turn(found: Predicted) -> dict[str, Any]:
    """Which turn of a file a prediction is of; empty for whole files."""
    if found.turn is None:
        return {}
    turn = found.turn
    times = {k: v for k, v in (("start", turn.start), ("end", turn.end)) if math.isfinite(v)}
    return {"id": found.id, "speaker": turn.speaker, **times, "text": turn.text}


def _line(found: Predicted, prediction: Prediction) -> str:
    """File, for turns id and speaker too, label, score and dimensions, separated by tabs."""
    which = [found.item] if found.turn is None else [found.item, found.id, " ".join(found.turn.speaker.split())]
    label, score = prediction.top()
    dimensions = " ".join(f"{k} {v:+.2f}" for k, v in prediction.dimensions.items())
    return "\t".join([*which, label, f"{score:.3f}", dimensions]).rstrip()


def _record(prediction: Prediction) -> dict[str, Any]:
    scores = {label: round(float(score), 6) for label, score in zip(prediction.labels, prediction.scores, strict=True)}
    return {
        "perspective": prediction.perspective,
        "space": prediction.space,
        "label": prediction.top()[0],
        "scores": scores,
        "dimensions": {k: round(v, 6) for k, v in prediction.dimensions.items()},
    }


def _best(card: SystemCard) -> str:
    return " ".join(f"{p.corpus} {p.metric} {p.value:g}" for p in card.published[:1]) or "no number known"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k}: {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

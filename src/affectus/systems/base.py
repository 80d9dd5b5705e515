"""What every published system is to the rest of the library."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from affectus.corpora import Corpus
from affectus.errors import ConfigError, ModelError
from affectus.features.inputs import InputSpec
from affectus.metrics import accuracy, ccc, ece, macro_f1, nll, pcc, uar
from affectus.nn.phase import Phase
from affectus.systems.card import SystemCard
from affectus.types import Prediction

#: Input tensors, targets and lists (texts, ids); every value has the items of the batch along its first axis.
Batch = dict[str, Any]
Outputs = dict[str, Tensor]


class System(nn.Module, ABC):
    """One published system, or one stage of it (pre-training, fine-tuning …), built from its `Config`.

    Subclasses set `card`, `Config` and `stage`; `Config` is a frozen dataclass with `tiny()` and named constructors for
    the published sizes. `overfit` is how the contract test trains on eight items: steps, learning rate, and the share
    of the first loss that must be undercut. `bulky` names outputs that losses need and metrics do not: they are not
    kept over a validation.
    """

    card: ClassVar[SystemCard]
    Config: ClassVar[type[Any]]
    stage: ClassVar[str] = "finetune"
    select: str = "uar"
    overfit: ClassVar[tuple[int, float, float]] = (60, 3e-3, 0.5)
    bulky: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def inputs(self) -> dict[str, InputSpec]:
        """Exact preprocessing of every modality, by batch key."""

    def inputs_for(self, corpus: Corpus) -> dict[str, InputSpec]:
        """The part of `inputs()` that is read from a corpus in training: all, unless a system learns from several."""
        return self.inputs()

    @abstractmethod
    def forward(self, batch: Batch) -> Outputs:
        """Outputs by name: `logits` (B, classes), `values` (B, dimensions in [-1, 1]), features, whatever losses need.

        Targets are not needed. Raises ConfigError that names a modality which is missing and cannot be.
        """

    @abstractmethod
    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Named scalar losses, already weighted: their sum is minimised. `options` are those of the phase."""

    @abstractmethod
    def phases(self) -> list[Phase]:
        """What trains, for how long, with which schedule, as published."""

    @abstractmethod
    def example(self, count: int, seed: int = 0) -> Batch:
        """A seeded labelled synthetic batch that can be learnt, made by `corpora.synthetic` through `inputs()`."""

    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the logits: those of the config where it has them, else of the card."""
        return tuple(getattr(self.config, "labels", ()) or self.card.labels)

    def space(self) -> str:
        """Label space of `labels()`."""
        return getattr(self.config, "space", "") or self.card.space

    def dimensions(self) -> tuple[str, ...]:
        """Names of the columns of `values`: those of the config where it has them, else of the card."""
        return tuple(getattr(self.config, "dimensions", ()) or self.card.dimensions)

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """Targets of a corpus by batch key: `label` for a `label:` column, `values` for `dim:` columns.

        `column` may name several dimensions, comma-separated. A `dist:` column (votes) gives `shares` (n, classes) and
        the `label` of the same space. Rows without a target hold -1 or NaN.
        """
        if column.startswith("dim:"):
            return {"values": np.stack([corpus.array(name.strip()) for name in column.split(",")], 1).astype("f4")}
        if column.startswith("dist:"):
            found = self.targets(corpus, column.replace("dist:", "label:", 1))
            shares = np.zeros((len(corpus), len(self.labels())), np.float32)
            shares[:, [self.labels().index(name) for name in corpus.labels(column)]] = corpus.array(column)
            return {**found, "shares": shares}
        known, own = corpus.labels(column), self.labels()
        if missing := [name for name in known if name not in own]:
            raise ConfigError(column, f"has labels that {self.card.name} does not give: {', '.join(missing)}")
        place = np.array([own.index(name) for name in known] + [-1])
        return {"label": place[corpus.targets(column)]}

    def prepare(self, corpus: Corpus, column: str) -> None:
        """Called once with all rows that a run may learn from, before any items are made: what a system keeps of them
        beside its weights (a store of demonstrations …) it stores in `save` and finds again in `load_weights`."""

    def items(self, corpus: Corpus, column: str) -> Any:
        """Training items of a corpus whose rows are not the items or whose media do not hold the input (published
        feature files, films traced at 25 Hz): a sequence of dicts by batch key with targets. None otherwise."""
        return None

    def scored(self, outputs: Outputs, batch: Batch) -> tuple[Outputs, Batch]:
        """What is measured of a batch, outputs and targets row by row: the items, unless an item holds several (turns
        of a conversation)."""
        return outputs, batch

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """Training-time changes of a batch (mixup, erasing …), drawn from torch's generator."""
        return batch

    def enter(self, phase: Phase) -> None:
        """Called before a phase starts."""

    def begin(self, phase: Phase, epoch: int) -> None:
        """Called before every epoch of a phase, counted from 0: where weights of losses ramp up."""

    def depth(self, name: str) -> int:
        """Distance of a parameter from the output, for layer-wise learning-rate decay."""
        return 0

    def decode(self, outputs: Outputs) -> list[Prediction]:
        """Predictions of a batch: probabilities in the order of `labels()`, and dimensions."""
        names = self.dimensions()
        values = outputs["values"].detach().float().cpu().numpy() if "values" in outputs else None
        if "logits" not in outputs:
            if values is None:
                raise ModelError(self.card.name, f"its {self.stage} stage gives no prediction", "load a fine-tuned one")
            return [
                Prediction("va", names, row, self.card.perspective, dimensions=_named(names, row)) for row in values
            ]
        scores = outputs["logits"].detach().float().softmax(-1).cpu().numpy()
        rows: Any = values if values is not None else [()] * len(scores)
        return [
            Prediction(self.space(), self.labels(), row, self.card.perspective, dimensions=_named(names, extra))
            for row, extra in zip(scores, rows, strict=True)
        ]

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Validation metrics from the outputs and targets of all items; `select` is one of them."""
        found: dict[str, float] = {}
        if "logits" in outputs and "label" in targets:
            kept = targets["label"] >= 0
            truth, logits = targets["label"][kept], torch.from_numpy(outputs["logits"][kept])
            scores = logits.float().softmax(-1).numpy()
            guess = scores.argmax(1)
            found |= {"uar": uar(truth, guess), "accuracy": accuracy(truth, guess), "macro_f1": macro_f1(truth, guess)}
            found |= {"ece": ece(truth, scores), "nll": nll(truth, scores)}
        if "values" in outputs and "values" in targets:
            for i, name in enumerate(self.dimensions()):
                kept = ~np.isnan(targets["values"][:, i])
                pair = targets["values"][kept, i], outputs["values"][kept, i]
                found |= {f"pcc_{name}": pcc(*pair), f"ccc_{name}": ccc(*pair)}
            found["pcc"] = float(np.mean([v for k, v in found.items() if k.startswith("pcc_")]))
        return found

    def reported(
        self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[Callable[..., float], np.ndarray, np.ndarray]]:
        """What a result record holds beside the usual metrics of classes and dimensions: by name the metric, the truth
        and the answers of all rows (n,), NaN where the truth is not known."""
        return {}

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """A system with the weights of the public checkpoint; every key is used or named in the error."""
        raise ConfigError(cls.card.name, "has no published checkpoint layout", cls.card.weights)

    def initialise(self, state: Mapping[str, Tensor]) -> list[str]:
        """Take over weights of an earlier stage of this system by name and shape; returns the names left as they were.

        Raises ModelError when nothing fits.
        """
        own = self.state_dict()
        fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
        if not fitting:
            raise ModelError(self.card.name, "nothing of these weights fits", "give weights of an earlier stage of it")
        self.load_state_dict(fitting, strict=False)
        return sorted(set(own) - set(fitting))

    def saved_state(self) -> dict[str, Tensor]:
        """What `save` writes and `load_weights` wants; anything else keeps its values when weights are loaded."""
        return self.state_dict()

    def save(self, folder: str | Path) -> Path:
        """Write `model.safetensors`, `config.json` and `card.json` (the layout that model hubs take)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().cpu().clone().contiguous() for k, v in self.saved_state().items()},
                  folder / "model.safetensors")  # fmt: skip
        record = {"system": self.card.name, "stage": self.stage, "config": asdict(self.config)}
        (folder / "config.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (folder / "card.json").write_text(json.dumps(self.card.as_dict(), indent=1) + "\n", encoding="utf-8")
        return folder

    def load_weights(self, folder: str | Path) -> Self:
        """Load what `save` wrote; raises ModelError that names missing, unexpected and misshapen keys."""
        path = Path(folder) / "model.safetensors"
        if not path.is_file():
            raise ModelError(folder, "holds no model.safetensors", "give a folder written by save() or affectus train")
        saved = self.saved_state()
        left_out = {key: value for key, value in self.state_dict().items() if key not in saved}
        load_strictly(self, {**left_out, **load_file(path)}, str(path))
        return self


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load a state dict of which every key must fit; raises ModelError with the first few that do not."""
    own = module.state_dict()
    wrong = {
        "missing": sorted(set(own) - set(state)),
        "unexpected": sorted(set(state) - set(own)),
        "of another shape": sorted(k for k in set(own) & set(state) if own[k].shape != state[k].shape),
    }
    told = [f"{len(keys)} {what} ({', '.join(keys[:3])}{' …' if len(keys) > 3 else ''})" for what, keys in wrong.items()
            if keys]  # fmt: skip
    if told:
        raise ModelError(
            origin, f"weights do not fit: {'; '.join(told)}", "check that config and checkpoint belong together"
        )
    module.load_state_dict(dict(state))


def read_config(kind: type[Any], record: Mapping[str, Any], origin: str = "config") -> Any:
    """A `Config` from a record, with lists as tuples; raises ConfigError for unknown or wrong settings."""
    if not is_dataclass(kind):
        raise ConfigError(origin, f"{kind.__name__} is no config")
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(record) - known):
        raise ConfigError(origin, f"unknown settings {', '.join(unknown)}", f"known are {', '.join(sorted(known))}")
    try:
        return kind(**{k: _tuples(v) for k, v in record.items()})
    except (TypeError, ValueError) as error:
        raise ConfigError(origin, str(error)) from error


def unwrap(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a public checkpoint: its `model` or `module` part where it has one, without the prefix `module.`
    that data-parallel training leaves."""
    inner = next((state[key] for key in ("model", "module") if isinstance(state.get(key), Mapping)), state)
    return {str(key).removeprefix("module."): value for key, value in inner.items()}


def batch_of(raws: Sequence[Mapping[str, Any]], specs: Mapping[str, InputSpec]) -> Batch:
    """Input tensors (lists of texts) from decoded content by source kind, one mapping per item."""
    made = {name: [spec(raw[spec.source]) for raw in raws] for name, spec in specs.items()}
    return {k: v if isinstance(v[0], str) else torch.from_numpy(np.stack(v)) for k, v in made.items()}


def require(batch: Batch, *names: str) -> None:
    """Raises ConfigError naming the first modality that is missing from a batch."""
    for name in names:
        if batch.get(name) is None:
            raise ConfigError(
                name, "is missing from the batch, and this system needs it", "give it, or use a system without it"
            )


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _named(names: Sequence[str], row: Any) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, row, strict=False)}

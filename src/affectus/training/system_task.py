"""A published system as a training task: data from a corpus or from its own synthetic examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from affectus.corpora import Corpus
from affectus.errors import MediaError
from affectus.features.reading import open_source
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, System
from affectus.systems.prediction import collate
from affectus.training.curriculum import curriculum_part
from affectus.training.mixing import SourceBatches, Sources
from affectus.training.task import Task

#: Bytes of preprocessed items that one `CorpusItems` keeps.
MEMORY = 4 << 30


class CorpusItems(Dataset):
    """Rows of a corpus through a system's input specifications, with targets; decoded when asked for.

    `kept` rows have a target; `column` names it (see `System.targets`). Media that a specification takes are read from
    the corpus in place, also from inside an archive. What was preprocessed is kept up to `memory` bytes.
    """

    def __init__(self, corpus: Corpus, system: System, column: str, memory: int = MEMORY) -> None:
        self.corpus, self.specs = corpus, system.inputs_for(corpus)
        self.targets = system.targets(corpus, column) if column else {}
        known = np.ones(len(corpus), bool)
        for values in self.targets.values():
            if values.dtype.kind == "O":  # records, texts
                known &= np.array([value is not None for value in values], bool)
                continue
            flat = values.reshape(len(corpus), int(np.prod(values.shape[1:])))
            known &= (flat >= 0).all(1) if values.dtype.kind == "i" else ~np.isnan(flat).all(1)
        self.kept = np.flatnonzero(known)
        self._memory: dict[int, dict[str, Any]] = {}
        self._left = memory

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = int(self.kept[index])
        found = self._memory.get(row)
        if found is None:
            found = self._read(row)
            self._left -= sum(value.nbytes for value in found.values() if isinstance(value, np.ndarray))
            if self._left >= 0:
                self._memory[row] = found
        return found | {name: values[row] for name, values in self.targets.items()}

    def _read(self, row: int) -> dict[str, Any]:
        found: dict[str, Any] = {"id": str(self.corpus.table["id"][row].as_py())}
        raw: dict[str, Any] = {}
        for name, spec in self.specs.items():
            if spec.source not in raw:
                try:
                    raw[spec.source] = _decode(self.corpus, row, spec.source)
                except MediaError:
                    if not spec.optional:
                        raise
                    raw[spec.source] = None
            found[name] = spec(raw[spec.source])
        return found


def _decode(corpus: Corpus, row: int, kind: str) -> Any:
    if kind in ("image", "face"):  # corpora of faces hold faces already cropped
        return corpus.image(row)
    if kind == "audio":
        return corpus.audio(row)
    if kind == "text":
        return corpus.table["text"][row].as_py() or ""
    if corpus.media(row).endswith("/"):  # a folder of pictures; those of face corpora are crops
        return corpus.frames(row)
    with corpus.local(row) as path:
        return open_source(path, kind)


class BatchItems(Dataset):
    """A ready batch (synthetic examples) seen as single items."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(next(iter(self.batch.values())))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {k: v[index].numpy() if torch.is_tensor(v) else v[index] for k, v in self.batch.items()}


class SystemTask(Task):
    """Trains a system on items and validates it by its own `measure`.

    The summed validation loss is among the metrics: a stage without labels selects by `-loss`.
    """

    def __init__(
        self,
        system: System,
        train: Dataset,
        validation: Dataset,
        split: str = "held-out part of train",
        workers: int = 0,
    ) -> None:
        self.model: System = system
        self.train, self.validation, self.validation_split = train, validation, split
        self.select, self.workers = system.select, workers

    def loader(self, phase: Phase, seed: int) -> DataLoader:
        if isinstance(self.train, Sources):
            batches = SourceBatches(self.train, phase, seed)
            return DataLoader(self.train, batch_sampler=batches, collate_fn=collate, num_workers=self.workers)
        train = curriculum_part(self.train, phase.options.get("curriculum"))
        count: int = len(train)  # type: ignore[arg-type]
        return DataLoader(
            train,
            batch_size=phase.batch_size,
            shuffle=True,
            drop_last=count > phase.batch_size,
            collate_fn=collate,
            num_workers=self.workers,
            persistent_workers=False,
            generator=torch.Generator().manual_seed(seed),
        )

    def losses(self, model: nn.Module, batch: Mapping[str, Tensor], phase: Phase) -> dict[str, Tensor]:
        changed = self.model.augment(dict(batch), phase.options)
        return self.model.losses(changed, model(changed), phase.options)

    def validate(self, model: nn.Module) -> dict[str, float]:
        if not len(self.validation):  # type: ignore[arg-type]
            return {}
        outputs, targets, losses = outputs_of(model, self.validation)  # type: ignore[arg-type]
        return {"loss": losses, **self.model.measure(outputs, targets)}

    def enter(self, phase: Phase) -> None:
        self.model.enter(phase)

    def begin(self, phase: Phase, epoch: int) -> None:
        self.model.begin(phase, epoch)

    def depth(self, name: str) -> int:
        return self.model.depth(name)


def outputs_of(
    model: System, items: Dataset, batch_size: int = 32
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], float]:
    """Outputs and targets of all items by name, as numpy, and the mean summed loss (NaN without targets)."""
    outputs: dict[str, list[np.ndarray]] = {}
    targets: dict[str, list[np.ndarray]] = {}
    total, count = 0.0, 0
    device = next(model.parameters()).device
    for batch in DataLoader(items, batch_size=batch_size, collate_fn=collate):
        batch = {k: v.to(device) if torch.is_tensor(v) else v for k, v in batch.items()}
        size = len(next(iter(batch.values())))
        with torch.no_grad():
            found = model(batch)
            parts = model.losses(batch, found, {})
        total += float(torch.stack([p.float() for p in parts.values()]).sum()) * size
        count += size
        found, batch = model.scored(found, batch)
        rows = len(next(iter(batch.values())))
        _gather(outputs, {k: v for k, v in found.items() if k not in model.bulky}, rows)
        _gather(targets, {k: batch[k] for k in ("label", "values", "labels") if k in batch}, rows)
    joined = [{k: np.concatenate(v) for k, v in part.items()} for part in (outputs, targets)]
    return joined[0], joined[1], total / max(count, 1)


def _gather(into: dict[str, list[np.ndarray]], found: Mapping[str, Tensor], size: int) -> None:
    for name, value in found.items():
        if torch.is_tensor(value) and value.ndim and len(value) == size:
            into.setdefault(name, []).append(value.detach().float().cpu().numpy() if value.is_floating_point()
                                             else value.cpu().numpy())  # fmt: skip

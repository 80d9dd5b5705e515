"""From media files to predictions of a system: its input specifications, batches, and what to do about bad files.

A file that holds turns (a table, subtitles, a chat) gives a prediction for every turn: systems that take conversations
follow the whole talk, systems that take texts read every turn by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affectus import media
from affectus.errors import AffectusError
from affectus.features.reading import read_inputs
from affectus.systems.base import Batch, System
from affectus.types import Conversation, Prediction, Turn


@dataclass(frozen=True)
class Predicted:
    """One file, or one turn of a file: its prediction, or the reason why there is none.

    `id` names the turn: the conversation (the file where it holds one) and the number of the turn in it, from 1.
    """

    item: str
    prediction: Prediction | None
    error: str = ""
    id: str = ""
    turn: Turn | None = None


def collate(items: Sequence[Mapping[str, Any]]) -> Batch:
    """Items → batch: arrays and numbers are stacked into tensors, texts and ids stay lists.

    A key that some items lack is left out, so that the system names it (or does without).
    """
    batch: Batch = {}
    for name in dict.fromkeys(key for item in items for key in item):
        values = [item[name] for item in items if name in item]
        if len(values) < len(items):
            continue
        if isinstance(values[0], (str, list, tuple, dict)):
            batch[name] = values
        else:
            batch[name] = torch.from_numpy(np.stack([np.asarray(value) for value in values]))
    return batch


def predict(
    system: System, sources: Iterable[Any], batch_size: int = 8, warnings: list[str] | None = None
) -> Iterator[Predicted]:
    """Predictions of media files (or mappings of decoded content) in order, of files with turns one per turn; a bad
    file gives its error and the rest goes on. What was guessed or left out on reading turns is added to `warnings`."""
    specs = system.inputs()
    system.eval()
    device = next((p.device for p in system.parameters()), torch.device("cpu"))
    remaining = _asked(system, sources, specs, [] if warnings is None else warnings)
    while group := list(islice(remaining, batch_size)):
        read = [asked if isinstance(asked, Predicted) else _read(asked.content, specs) for asked in group]
        good = [found for found in read if isinstance(found, dict)]
        results = iter(_run(system, good, device))
        for asked, found in zip(group, read, strict=True):
            if isinstance(asked, Predicted):
                yield asked
                continue
            outcome = found if isinstance(found, AffectusError) else next(results)
            failed = isinstance(outcome, AffectusError)
            prediction = None if failed else outcome
            yield Predicted(asked.item, prediction, str(outcome) if failed else "", asked.id, asked.turn)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Asked:
    """What goes through the network by itself: a file, or a turn of one."""

    item: str
    content: Any
    id: str = ""
    turn: Turn | None = None


def _asked(
    system: System, sources: Iterable[Any], specs: Mapping[str, Any], warnings: list[str]
) -> Iterator[_Asked | Predicted]:
    """Files as they are; of files with turns every turn, already predicted where the system follows conversations."""
    takes = {spec.source for spec in specs.values()}
    for source in sources:
        if not isinstance(source, (str, Path)):
            yield _Asked(str(source.get("id", "item")), source)
            continue
        item, notes = str(source), list[str]()
        try:
            talks = _talks(Path(source), takes, notes)
            warnings += [f"{item}: {note}" for note in notes]
            for talk in talks:
                names = [f"{talk.id}/{number}" for number in range(1, len(talk.turns) + 1)]
                if "turns" in takes:
                    follower: Any = system  # every system that takes turns has `follow`; the contract tests see to it
                    followed = follower.follow(talk.turns)
                    for name, turn, prediction in zip(names, talk.turns, followed, strict=True):
                        yield Predicted(item, prediction, "", name, turn)
                else:
                    for name, turn in zip(names, talk.turns, strict=True):
                        yield _Asked(item, {"text": turn.text}, name, turn)
        except AffectusError as error:
            yield Predicted(item, None, str(error))
            continue
        if not talks:
            yield _Asked(item, source)


def _talks(path: Path, takes: Collection[str], warnings: list[str]) -> list[Conversation]:
    """Conversations of a file that is predicted turn by turn: tables and subtitles, texts where they have speakers or
    the system takes turns; else none."""
    if not {"turns", "text"} & set(takes):
        return []
    kind = media.probe(path).kind
    if kind not in ("text", "subtitles", "table"):
        return []
    talks = media.read_conversations(path, warnings)
    spoken = any(turn.speaker for talk in talks for turn in talk.turns)
    return talks if spoken or kind != "text" or "turns" in takes else []


def _read(source: Any, specs: Mapping[str, Any]) -> dict[str, np.ndarray] | AffectusError:
    try:
        return read_inputs(source, specs)
    except AffectusError as error:
        return error


def _run(system: System, items: list[dict[str, np.ndarray]], device: torch.device) -> list[Prediction | AffectusError]:
    """Items that hold the same modalities go through together."""
    results: list[Any] = [None] * len(items)
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for i, item in enumerate(items):
        kinds.setdefault(tuple((k, getattr(v, "shape", ())) for k, v in item.items()), []).append(i)
    for rows in kinds.values():
        batch = {k: v.to(device) if torch.is_tensor(v) else v for k, v in collate([items[i] for i in rows]).items()}
        try:
            with torch.inference_mode():
                found: Sequence[Any] = system.decode(system(batch))
        except AffectusError as error:
            found = [error] * len(rows)
        for i, outcome in zip(rows, found, strict=True):
            results[i] = outcome
    return results

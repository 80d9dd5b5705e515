"""Progress on a terminal: one bar for the inputs, one for the current one with its rate and the time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from affectus.app.terminal import console
from affectus.errors import AffectusError

#: Stage → where it begins and ends within one input.
SPANS = {
    "pictures": (0.0, 0.6),
    "sound": (0.6, 0.93),
    "words": (0.0, 0.95),
    "fusion": (0.93, 0.97),
    "writing": (0.97, 1.0),
}


class Silent:
    """No progress: not a terminal, or not wanted."""

    update: Callable[[Path, str, float], None] | None = None

    def done(self) -> None:
        """Nothing to show."""


class Bars:
    """Takes the reports of an analysis."""

    def __init__(self, progress: Any, count: int) -> None:
        self._progress = progress
        self._all = progress.add_task(f"{count} inputs", total=count, rate="") if count > 1 else None
        self._current: Path | None = None
        self._task: Any = None
        self._length = 0.0

    def update(self, path: Path, stage: str, share: float) -> None:
        """Take a report: which input, what is being done, and how much of that is done."""
        if path != self._current:
            self._begin(path)
        low, high = SPANS.get(stage, (0.0, 0.0))
        task = self._progress.tasks[self._progress.task_ids.index(self._task)]
        done = max(low + (high - low) * min(1.0, share), task.completed)
        rate = task.fields["rate"]
        if stage not in SPANS:
            rate = f"{stage} {share:.0%}" if share else stage
        elif stage == "pictures" and task.elapsed and self._length:
            rate = f"{share * self._length / task.elapsed:.1f}× real time"
        self._progress.update(self._task, completed=done, rate=rate)

    def done(self) -> None:
        """An input is finished or failed."""
        self._drop()
        if self._all is not None:
            self._progress.advance(self._all)

    def _begin(self, path: Path) -> None:
        from rich.markup import escape

        from affectus import media

        self._drop()
        self._current = path
        try:
            self._length = media.probe(path).duration
        except AffectusError:
            self._length = 0.0
        self._task = self._progress.add_task(escape(path.name), total=1.0, rate="")

    def _drop(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task, self._current = None, None


@contextmanager
def shown(count: int, wanted: bool) -> Iterator[Bars | Silent]:
    """Bars for `count` inputs while the block runs, on a terminal and where wanted; else something silent."""
    if not wanted or not sys.stderr.isatty():
        yield Silent()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(error=True), transient=True) as progress:
        yield Bars(progress, count)

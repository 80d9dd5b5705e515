"""Many inputs, one after the other: each result is written whole or not at all, finished ones are not done again.

The output folder holds one folder per input with `timeline.parquet` and the other formats asked for, and `done.json`,
the marker that says from which content, settings, models and version it was made. Everything is written beside it
first and put in place by one rename, so a killed run leaves only whole results. A lock per input lets several runs
share an output folder: what another run is working on is left for last, then taken over from it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affectus import __version__, media, models
from affectus.analysis import describing, names
from affectus.analysis.engines import Engines
from affectus.analysis.locks import FileLock
from affectus.analysis.pipeline import analyze_file
from affectus.analysis.settings import Settings
from affectus.errors import AffectusError, ConfigError, MediaError
from affectus.features.store import media_id
from affectus.media import transcription
from affectus.media.files import (
    AUDIO_SUFFIXES,
    IMAGE_SUFFIXES,
    SUBTITLE_SUFFIXES,
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    read_head,
)
from affectus.models import dialogue
from affectus.types import Timeline

log = logging.getLogger("affectus.analysis")

#: Called with (input, stage, share of the stage that is done).
Report = Callable[[Path, str, float], None]
FORMATS = ("parquet", "csv", "html")
#: Format → file in the result folder.
FILES = {
    "parquet": "timeline.parquet",
    "csv": "timeline.csv",
    "json": "timeline.json",
    "html": "report.html",
    "vtt": "timeline.vtt",
    "eaf": "timeline.eaf",
    "textgrid": "timeline.TextGrid",
}
#: Formats that describe a recording with times.
TIMED = ("vtt", "eaf", "textgrid")
MARKER = "done.json"
_WORK = ".work"


@dataclass
class Outcome:
    """What became of one input: `error`, or a timeline, in memory or in `folder`. `resumed`: it was finished before."""

    path: Path
    error: AffectusError | None = None
    folder: Path | None = None
    resumed: bool = False
    seconds: float = 0.0
    timeline: Timeline | None = field(default=None, repr=False)

    def load(self) -> Timeline | None:
        """The timeline, read from the result folder when it is not in memory; None for a failure."""
        if self.timeline is None and self.error is None and self.folder is not None:
            return Timeline.read(self.folder / FILES["parquet"])
        return self.timeline


def analyze_each(
    paths: str | Path | Iterable[str | Path],
    settings: Settings,
    out: str | Path | None = None,
    formats: Sequence[str] = FORMATS,
    report: Report | None = None,
    files: Sequence[Path] | None = None,
) -> Iterator[Outcome]:
    """Analyse inputs one by one; a failure is an outcome, not the end.

    `files` are the inputs when `media.find_media(paths)` was called already. Raises AffectusError when there is no
    input, for unknown formats, and when the output folder cannot be used.
    """
    named = [paths] if isinstance(paths, str | Path) else list(paths)
    if "" in named:  # as a path it would be the folder one is in
        raise MediaError("''", "is no path", "give a file or a folder, '.' for the one you are in")
    given = [Path(path) for path in named]
    files = suited(media.find_media(given), given, settings.modalities) if files is None else files
    if settings.transcript is not None and len(files) > 1:
        raise ConfigError(
            "transcript", f"belongs to one recording, but there are {len(files)} inputs", "give one input"
        )
    engines = Engines(settings)
    engines.writer()
    if out is None:
        for path in files:
            yield _guarded(path, lambda p=path: Outcome(p, timeline=_timeline(p, settings, engines, report)))  # type: ignore[misc]
        return
    target = _Target(Path(out), settings, engines, chosen_formats(formats), report)
    wanted = names.folder_names(files, given)
    busy = []
    for path in files:
        outcome = _guarded(path, lambda p=path: target.take(p, wanted[p], wait=False))  # type: ignore[misc]
        if outcome is None:
            busy.append(path)
        else:
            yield outcome
    for path in busy:
        yield _guarded(path, lambda p=path: target.take(p, wanted[p], wait=True))  # type: ignore[misc]


#: Modalities that can look at files of a name, as far as the name tells; others may hold anything.
_LOOKS = (
    (AUDIO_SUFFIXES, {"voice", "words"}),
    (IMAGE_SUFFIXES, {"face", "scene"}),
    (TABLE_SUFFIXES | TEXT_SUFFIXES | SUBTITLE_SUFFIXES, {"words"}),
)


def suited(files: Sequence[Path], given: Sequence[Path], modalities: Sequence[str]) -> list[Path]:
    """Files without those that were only found in a folder and that no chosen modality can look at, such as pictures
    among recordings when only voices are wanted. Where none is left, all, so that each is refused with its reason."""
    named = {path for path in given if not path.is_dir()}

    def wanted(path: Path) -> bool:
        able = next((able for suffixes, able in _LOOKS if path.suffix.lower() in suffixes), set(modalities))
        return path in named or bool(able & set(modalities))

    return [path for path in files if wanted(path)] or list(files)


def chosen_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """Formats in the usual order, Parquet always among them. Raises ConfigError for unknown ones."""
    chosen = {name.strip().lower().lstrip(".") for name in formats if name.strip()} | {"parquet"}
    if unknown := sorted(chosen - set(FILES)):
        raise ConfigError("formats", f"{', '.join(unknown)} is unknown", f"choose from {', '.join(FILES)}")
    return tuple(name for name in FILES if name in chosen)


def _guarded(path: Path, work: Callable[[], Any]) -> Any:
    """Run the work on one input; whatever goes wrong becomes an outcome with a clear reason."""
    started = time.perf_counter()
    try:
        outcome = work()
    except AffectusError as error:
        outcome = Outcome(path, error)
    except MemoryError:
        outcome = Outcome(path, AffectusError(path, "there is not enough memory", "lower --fps or cut it in pieces"))
    except Exception as error:
        log.debug("unexpected error on %s", path, exc_info=True)
        if os.environ.get("AFFECTUS_DEBUG"):
            raise
        said = (str(error).strip().splitlines() or [""])[0]
        reason = f"unexpected {type(error).__name__}" + (f": {said}" if said else "")
        outcome = Outcome(path, AffectusError(path, reason, "AFFECTUS_DEBUG=1 shows where; please report it"))
    if outcome is not None:
        outcome.seconds = time.perf_counter() - started
    return outcome


def _timeline(path: Path, settings: Settings, engines: Engines, report: Report | None) -> Timeline:
    tell = (lambda stage, share: report(path, stage, share)) if report else None
    timeline = analyze_file(path, settings, engines, tell)
    if not settings.describe:
        return timeline
    share = (lambda done: report(path, "describing", done)) if report else None
    return describing.describe(timeline, engines.writer(), share)


class _Target:
    """An output folder that results are put into."""

    def __init__(
        self, root: Path, settings: Settings, engines: Engines, formats: tuple[str, ...], report: Report | None
    ) -> None:
        self.root, self.settings, self.engines = root, settings, engines
        self.formats, self.report = formats, report
        try:
            root.mkdir(parents=True, exist_ok=True)
            (root / media.OUTPUT_MARKER).touch()
        except OSError as error:
            reason = f"cannot be used as output folder: {error.strerror or error}"
            raise AffectusError(root, reason, "choose a folder you can write with --out") from None
        self.fingerprint = settings.fingerprint(
            {"version": __version__, "formats": formats, "models": _model_ids(settings)}
        )

    def take(self, path: Path, name: str, wait: bool) -> Outcome | None:
        """Analyse an input into its folder, or find it finished; None when another run has it and `wait` is off."""
        content = self._content(path)
        with FileLock(self.root / _WORK / f"{name}.lock") as lock:
            if wait and self.report:
                self.report(path, "waiting for another run", 0.0)
            if not lock.acquire(wait):
                return None
            marker = _marker(self.root / name)
            another = marker and marker.get("content") != content and marker.get("source") != os.path.realpath(path)
            if not another:
                return self._fill(path, name, content)
        return self.take(path, names.marked(name, path), wait)

    def _content(self, path: Path) -> str:
        """Identity of the input and of the transcript that goes with it."""
        read_head(path, 1)
        side = self.settings.transcript or media.sidecar(path)
        return media_id(path) + (f"+{media_id(side)}" if side else "")

    def _fill(self, path: Path, name: str, content: str) -> Outcome:
        """Do the work while the lock is held."""
        self._recover(name)
        folder = self.root / name
        marker = _marker(folder)
        if marker and self._is_current(marker, content):
            return Outcome(path, folder=folder, resumed=True)
        timeline = _timeline(path, self.settings, self.engines, self.report)
        work = self.root / _WORK / f"{name}.{os.getpid()}.new"
        try:
            self._write(timeline, path, content, work, folder)
            self._publish(work, name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return Outcome(path, folder=folder, timeline=timeline)

    def _is_current(self, marker: dict[str, Any], content: str) -> bool:
        same = marker.get("content") == content and marker.get("fingerprint") == self.fingerprint
        return bool(same) and marker.get("speech") == self._speech()

    def _speech(self) -> str | None:
        """The speech recogniser that is ready; one that was fetched since makes missing words worth another run."""
        return transcription.engine(self.settings.language) if "words" in self.settings.modalities else None

    def _write(self, timeline: Timeline, path: Path, content: str, work: Path, home: Path) -> None:
        if self.report:
            self.report(path, "writing", 0.0)
        try:
            work.mkdir(parents=True)
            facts = timeline.meta["files"][str(path)]
            for name in self.formats:
                if name not in TIMED or facts["kind"] in ("video", "audio", "subtitles"):
                    timeline.save(work / FILES[name], home)
            marker = {
                "source": os.path.realpath(path),
                "content": content,
                "fingerprint": self.fingerprint,
                "speech": self._speech(),
                "version": __version__,
                "rows": len(timeline),
                "missing": facts["missing"],
            }
            (work / MARKER).write_text(json.dumps(marker, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            reason = f"the result cannot be written: {error.strerror or error}"
            raise AffectusError(self.root, reason, "free space or choose another folder with --out") from None

    def _publish(self, work: Path, name: str) -> None:
        """Put a whole result in place; an older one is moved aside first and brought back by `_recover` if need be."""
        folder, old = self.root / name, self.root / _WORK / f"{name}.old"
        try:
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
                folder.rename(old)
            work.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise AffectusError(folder, f"cannot be put in place: {error.strerror or error}") from None

    def _recover(self, name: str) -> None:
        """Clear up after a killed run: bring back a result that was moved aside, drop half-written ones."""
        folder, old = self.root / name, self.root / _WORK / f"{name}.old"
        if old.exists() and not folder.exists():
            old.rename(folder)
        for leftover in (self.root / _WORK).glob(f"{_escaped(name)}.*.new"):
            shutil.rmtree(leftover, ignore_errors=True)


def _escaped(name: str) -> str:
    from glob import escape

    return escape(name)


def _marker(folder: Path) -> dict[str, Any] | None:
    """The marker of a finished result, None when there is none or it cannot be read."""
    try:
        record = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and (folder / FILES["parquet"]).is_file() else None


def _model_ids(settings: Settings) -> dict[str, str]:
    """Hash of the card of each chosen model, which holds the hashes of its files; "" for a missing one."""
    found = {}
    for name in (*settings.modalities, *(dialogue.NAMES if "words" in settings.modalities else ())):
        try:
            reading = name in dialogue.NAMES
            found[name] = media_id(dialogue.card_path(name) if reading else models.model_folder(name) / "card.json")
        except AffectusError:
            found[name] = ""
    return found

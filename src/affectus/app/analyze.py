"""`affectus analyze`: runs the analysis, shows progress, prints the summary, sums up failures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectus.app.progress import shown
from affectus.app.terminal import FAILED, USAGE, console, error_line, say
from affectus.errors import AffectusError, ConfigError
from affectus.types import Timeline


@dataclass(frozen=True)
class Choice:
    """The options of the command as given."""

    modalities: str
    transcript: Path | None
    fps: float
    window: float
    language: str
    device: str
    baseline: bool
    confidence: float
    conflict: float
    context: bool
    gap_hints: bool
    columns: str
    describe: bool
    llm: str
    llm_timeout: float
    out: Path | None
    formats: str
    as_json: bool
    quiet: bool


def run(paths: Sequence[Path], choice: Choice) -> int:
    """Analyse and report; returns the exit code."""
    from affectus import media
    from affectus.analysis.folder import Outcome, analyze_each, chosen_formats, suited
    from affectus.analysis.settings import Settings
    from affectus.media.tables import NoTextsError

    settings = Settings(
        modalities=tuple(m.strip() for m in choice.modalities.split(",") if m.strip()),
        transcript=choice.transcript,
        fps=choice.fps,
        window=choice.window,
        language=choice.language,
        device=choice.device,
        baseline=choice.baseline,
        confidence=choice.confidence,
        conflict=choice.conflict,
        context=choice.context,
        gap_hints=choice.gap_hints,
        columns=_columns(choice.columns),
        describe=choice.describe,
        llm=choice.llm,
        llm_timeout=choice.llm_timeout,
    )
    formats = chosen_formats(choice.formats.split(","))
    try:
        if choice.transcript is not None:
            media.probe(choice.transcript)
        there = media.find_media(paths)
    except AffectusError as error:
        say(error_line(error))
        return USAGE
    files = suited(there, paths, settings.modalities)
    if len(files) < len(there) and not choice.quiet:
        say(f"{len(there) - len(files)} files that {', '.join(settings.modalities)} cannot look at are passed over")
    failures: list[Outcome] = []
    parts: list[Outcome] = []
    passed: list[Outcome] = []
    named = {path for path in paths if not path.is_dir()}
    with shown(len(files), wanted=not (choice.quiet or choice.as_json)) as report:
        for outcome in analyze_each(paths, settings, choice.out, formats, report.update, files):
            report.done()
            if outcome.error is not None:
                textless = isinstance(outcome.error, NoTextsError) and outcome.path not in named
                (passed if textless else failures).append(outcome)
                continue
            if not choice.quiet:
                _notes(outcome)
            parts.append(outcome if choice.as_json else _slim(outcome))
            if choice.as_json and choice.out is not None:
                outcome.timeline = None
    if not parts:
        failures += passed
    elif not choice.quiet:
        for outcome in passed:
            say(f"passed over: {outcome.error}")
    _print(parts, failures, choice)
    return _sum_up(failures, len(files), paths)


def _columns(text: str) -> dict[str, str]:
    """`text=NAME,speaker=NAME` as role → column. Raises ConfigError."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, sign, name = part.partition("=")
        if not sign:
            raise ConfigError("columns", f"{part!r} is not of the form ROLE=NAME", "for example text=answer")
        found[role.strip()] = name.strip()
    return found


def _notes(outcome: Any) -> None:
    """Warnings of one input, a line each."""
    timeline = outcome.load()
    for name, facts in timeline.meta["files"].items():
        for modality, reason in facts["missing"].items():
            say(f"warning: {name}: {modality} missing: {reason}")
        for warning in facts["warnings"]:
            say(f"warning: {name}: {warning}")


def _slim(outcome: Any) -> Any:
    """An outcome with only the rows the summary needs, so that a long folder run does not gather whole tables."""
    from affectus.analysis.folder import Outcome

    timeline = outcome.load()
    kept = timeline.filter(space=["decision", "va", "conflict", "shift"], source=["fusion", "scene"])
    facts = {name: {**info, "thumbnails": {}} for name, info in timeline.meta["files"].items()}
    slim = Timeline(kept.table, {**timeline.meta, "files": facts})
    return Outcome(outcome.path, folder=outcome.folder, resumed=outcome.resumed, timeline=slim)


def _print(parts: Sequence[Any], failures: Sequence[Any], choice: Choice) -> None:
    from affectus.analysis.names import SUMMARY
    from affectus.analysis.run import joined
    from affectus.report import json_chunks, terminal, write_overview

    whole = joined([*parts, *failures])
    if choice.out is not None:
        folders = {str(part.path): part.folder.name for part in parts}
        reasons = {str(part.path): str(part.error) for part in failures}
        try:
            write_overview(whole, choice.out / SUMMARY, folders, reasons)
        except AffectusError as error:
            say(error_line(error))
    if choice.as_json:
        for chunk in json_chunks(whole):
            sys.stdout.write(chunk)
        sys.stdout.flush()
        return
    if choice.quiet or not parts:
        return
    out = console()
    out.print(terminal(whole))
    _described(whole)
    _hinted(whole)
    resumed = sum(part.resumed for part in parts)
    if resumed:
        say(f"{resumed} of {len(parts)} results were finished before and are kept")
    if choice.out is None:
        out.print("Add --out DIR for the table and the report.", style="dim")
    else:
        reports = [part.folder / "report.html" for part in parts if (part.folder / "report.html").exists()]
        several = f"Results: {choice.out} ({SUMMARY}, and one folder per input)"
        where = f"Report: {reports[0]}" if len(reports) == 1 else several
        out.print(where, soft_wrap=True, markup=False)


def _described(timeline: Timeline) -> None:
    """What became of descriptions, a line per file."""
    from affectus.report.descriptions import counted

    for name, facts in timeline.meta["files"].items():
        if line := counted(facts.get("descriptions") or {}):
            console().print(f"Descriptions of {name}: {line}.", soft_wrap=True, markup=False)


def _hinted(timeline: Timeline) -> None:
    """Weak hints that writer and reader may differ, with how often such hints are right."""
    from affectus.report.dialogue import hint_line

    if line := hint_line(timeline.meta["files"]):
        console().print(line, soft_wrap=True, markup=False, style="dim")


def _sum_up(failures: Sequence[Any], count: int, paths: Sequence[Path]) -> int:
    """List what failed; the exit code."""
    for outcome in failures:
        say(error_line(outcome.error))
    if not failures:
        return 0
    if count > 1:
        say(f"{len(failures)} of {count} inputs failed")
    return USAGE if not any(path.exists() for path in paths) else FAILED

"""`analyze`: any number of files, to a `Timeline` and, where wanted, to a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from affectus.analysis.folder import FORMATS, Outcome, Report, analyze_each
from affectus.analysis.settings import MODALITIES, Settings
from affectus.types import Timeline


def analyze(
    paths: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    modalities: Sequence[str] = MODALITIES,
    transcript: str | Path | None = None,
    fps: float = 5.0,
    window: float = 1.0,
    language: str = "auto",
    device: str = "auto",
    baseline: bool = False,
    confidence: float = 0.45,
    conflict: float = 0.4,
    context: bool = True,
    gap_hints: bool = True,
    describe: bool = False,
    llm: str = "",
    formats: Sequence[str] = FORMATS,
    columns: Mapping[str, str] | None = None,
    progress: Report | None = None,
) -> Timeline:
    """Who shows which emotion when, from which evidence, how sure: of video, audio, pictures, texts, folders of these.

    `paths` is a file, a folder or several; with `out` the result of each input is written to a folder of its own in
    there as well (`formats`: parquet, csv, html, json, vtt, eaf, textgrid), finished ones are not done again. The other
    parameters are those of `Settings`. `progress` is called with (path, stage, share done).

    Of several inputs the rows are joined with row numbers and `refs` shifted, and a file that fails does not stop the
    others: `meta["failures"]` maps its path to the reason. Raises AffectusError when there is no input, when a setting
    is wrong, and when every input failed (the first reason is told).
    """
    settings = Settings(
        modalities=tuple(modalities) if not isinstance(modalities, str) else tuple(modalities.split(",")),
        transcript=Path(transcript) if transcript else None,
        fps=fps,
        window=window,
        language=language,
        device=device,
        baseline=baseline,
        confidence=confidence,
        conflict=conflict,
        context=context,
        gap_hints=gap_hints,
        describe=describe,
        llm=llm,
        columns=columns or {},
    )
    outcomes = list(analyze_each(paths, settings, out, formats, progress))
    done = [outcome for outcome in outcomes if outcome.error is None]
    if not done and outcomes and outcomes[0].error is not None:
        raise outcomes[0].error
    return joined(outcomes)


def joined(outcomes: Sequence[Outcome]) -> Timeline:
    """One timeline of several outcomes; failures are listed in the meta data."""
    import pyarrow as pa
    import pyarrow.compute as pc

    timelines = [timeline for o in outcomes if (timeline := o.load()) is not None]
    failures = {str(o.path): str(o.error) for o in outcomes if o.error is not None}
    if len(timelines) == 1 and not failures:
        return timelines[0]
    tables, shift = [], 0
    meta: dict[str, Any] = {"models": [], "files": {}}
    known: set[str] = set()
    for timeline in timelines:
        table = timeline.table
        if shift:
            row = pc.add(table["row"], shift)
            refs = pa.chunked_array([_shifted(chunk, shift) for chunk in table["refs"].chunks], pa.list_(pa.int64()))
            table = table.set_column(table.schema.get_field_index("row"), "row", row)
            table = table.set_column(table.schema.get_field_index("refs"), table.schema.field("refs"), refs)
        tables.append(table)
        shift += table.num_rows
        meta["version"], meta["settings"] = timeline.meta["version"], timeline.meta["settings"]
        meta["files"] |= timeline.meta["files"]
        for card in timeline.meta["models"]:
            record = card if isinstance(card, dict) else asdict(card)
            if record["name"] not in known:
                known.add(record["name"])
                meta["models"].append(record)
    if failures:
        meta["failures"] = failures
    if not tables:
        return Timeline.from_rows([], meta)
    return Timeline(pa.concat_tables(tables), meta)


def _shifted(chunk: Any, shift: int) -> Any:
    """A list array whose numbers are raised by `shift`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pa.ListArray.from_arrays(chunk.offsets, pc.add(chunk.values, shift))

"""`affectus describe-corpus`: recordings → descriptions and open words for training, filtered, with an audit.

Analyse (resumable, one folder per recording) → describe each channel from its evidence → merge with what is said →
filters by rule → agreement scored by the model → words → agreement with what the shipped models found. The folder then
holds `audit.jsonl` (every clip with all replies and the reason if it was dropped), `summary.json`, and the clips that
were kept in the layout of MER-Caption+ (`corpora.load("mer_caption_plus", OUT)`).
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectus.app.progress import shown
from affectus.app.terminal import FAILED, error_line, print_json, print_table, say
from affectus.errors import AffectusError, ModelError
from affectus.lm.judge import Client, Judge
from affectus.lm.prompts import load_prompt
from affectus.lm.review import AGREEMENT, ReviewEngine, read_agreement, read_audit, self_reviewed
from affectus.lm.tags import Parsed

AUDIT, SUMMARY = "audit.jsonl", "summary.json"
#: Files of the published layout: names with words, with descriptions, and with what is said.
OPENSET, REASON, SUBTITLES = "track2_train_mercaptionplus.csv", "track3_train_mercaptionplus.csv", "subtitle_chieng.csv"


@dataclass(frozen=True)
class Choice:
    """The options of the command as given."""

    llm: str
    out: Path
    scorer: str = ""
    least_score: float = 6.0
    least_words: int = 8
    most_words: int = 200
    timeout: float = 120.0
    device: str = "auto"
    fps: float = 5.0
    as_json: bool = False
    quiet: bool = False


def run(paths: Sequence[Path], choice: Choice) -> int:
    """Describe what is not described yet; returns the exit code."""
    from affectus import media
    from affectus.lm.verbaliser import open_clients

    files = media.find_media(paths)
    writer, own = open_clients(choice.llm, choice.device, choice.timeout)
    scorer = open_clients(choice.scorer, choice.device, choice.timeout)[1] if choice.scorer else own
    failures: list[AffectusError] = []
    said: dict[str, str] = {}
    with shown(len(files), wanted=not (choice.quiet or choice.as_json)) as report:
        counts = engine(writer, scorer, choice).run(_clips(files, paths, choice, report, failures, said))
    record = finish(choice.out, counts, writer, scorer)
    _table(choice.out / SUBTITLES, ("name", "chinese", "english"), [(name, "", text) for name, text in said.items()])
    if choice.as_json:
        print_json(record)
    elif not choice.quiet:
        print_table(("outcome", "clips"), [(name, n) for name, n in counts.items()], "Described clips")
        print(f"{record['kept']} clips with {record['words']} different words: {choice.out}")
    for error in failures:
        say(error_line(error))
    if counts.get("not asked"):
        say(f"{counts['not asked']} clips were not described because the model failed; run the command again")
    return FAILED if failures or counts.get("not asked") else 0


def engine(writer: Client, scorer: Client, choice: Choice) -> ReviewEngine:
    """The engine over clips of the analyzer; replies about channels and scores are cached by what was asked."""
    from affectus.analysis.clips import CHANNELS, CHECKS, Clip

    replies = choice.out / "replies"
    channel = Judge(writer, load_prompt("review/channel"), lambda reply: Parsed({"value": reply.strip()}), replies)

    def describer(name: str) -> Any:
        def describe(clip: Clip) -> str:
            told = clip["channels"].get(name)
            if not told:
                return ""
            lines = "\n".join(f"- {line}" for line in told)
            verdict = channel.ask(channel=CHANNELS[name], who=clip["who"], evidence=lines)
            if not verdict.reply:
                raise ModelError("the describing model", verdict.error)
            return str(verdict.value)

        return describe

    return ReviewEngine(
        describers={name: describer(name) for name in CHANNELS},
        writer=writer,
        judge=Judge(scorer, load_prompt(AGREEMENT), read_agreement, replies),
        audit=choice.out / AUDIT,
        threshold=choice.least_score,
        words=(choice.least_words, choice.most_words),
        checks=CHECKS,
        labels_of=lambda clip: clip["votes"],
    )


def _clips(
    files: Sequence[Path],
    given: Sequence[Path],
    choice: Choice,
    report: Any,
    failures: list[AffectusError],
    said: dict[str, str],
) -> Iterator[dict[str, Any]]:
    """Clips of all files, each analysed when its turn comes; failures and what is said are gathered on the way."""
    from affectus.analysis import names
    from affectus.analysis.clips import clips_of
    from affectus.analysis.folder import analyze_each
    from affectus.analysis.settings import Settings

    settings = Settings(modalities=("face", "voice", "words"), fps=choice.fps, device=choice.device)
    wanted = names.folder_names(files, list(given))
    outcomes = analyze_each(list(given), settings, choice.out / "analysed", ("parquet",), report.update, files)
    for outcome in outcomes:
        report.done()
        timeline = outcome.load()
        if timeline is None:
            failures += [outcome.error] if outcome.error is not None else []
            continue
        for file in timeline.files:
            for clip in clips_of(timeline, file, Path(wanted[outcome.path]).stem):
                said[clip["name"]] = clip["account"].said
                yield clip


def finish(out: Path, counts: dict[str, int], writer: Client, scorer: Client) -> dict[str, Any]:
    """Write the kept clips and the summary; returns the summary."""
    kept = self_reviewed(out / AUDIT)
    audit = read_audit(out / AUDIT)
    _table(out / OPENSET, ("name", "openset"), [(row["name"], str(row["openset"])) for row in kept])
    _table(out / REASON, ("name", "reason"), [(row["name"], row["reason"]) for row in kept])
    reasons = Counter(row["reason"].split(":")[0].split(" (")[0] for row in audit if row["outcome"] != "kept")
    record = {
        "clips": len(audit),
        "kept": len(kept),
        "words": len({word for row in kept for word in row["openset"]}),
        "outcomes": counts,
        "reasons": dict(reasons.most_common(20)),
        "writer": dict(writer.identity),
        "scorer": dict(scorer.identity),
    }
    (out / SUMMARY).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return record


def _table(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from affectus.report.atomic import write_atomic

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(head)
    table.writerows(rows)
    write_atomic(path, [text.getvalue()])

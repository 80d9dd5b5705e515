"""Descriptions of clips for training, written by models, reviewed by models and then by people.

    engine = ReviewEngine({"visual": see, "face": look, "audio": hear}, writer, Judge(scorer, load_prompt(AGREEMENT),
                          read_agreement, "judged"), audit="sre.jsonl")
    counts = engine.run(clips)                       # goes on where an earlier run stopped
    write_sheet("sre.jsonl", "to_review.csv", 3500)  # a person corrects, keeps or drops
    records = reviewed("to_review.csv")              # {name, reason, openset}, as instructions take them

Per clip: analyses per channel (visual, face, audio) → one description merged from them and the words said → filters by
rule (`checks`, length) → agreement of the description with every analysis, scored 0 to 10 by a model → emotion words →
agreement of the words with labels that classifiers gave (`labels_of`; MER-Caption+). What fails is dropped with its
reason. The audit holds one JSON record per clip with everything on the way: texts, replies, prompts with their hashes,
models. A clip whose model could not be asked is not recorded, so that the next run asks again.
(Self-reviewed and human-reviewed data of Omni-Emotion, arXiv 2501.09502; filters of MER-Caption+, arXiv 2501.16566.)
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from affectus.errors import ConfigError, ModelError
from affectus.lm.extraction import extract_words
from affectus.lm.judge import Client, Judge
from affectus.lm.prompts import Prompt, load_prompt
from affectus.lm.tags import Parsed, parse_json
from affectus.metrics.open_vocabulary import wheel_hit_rate

MERGE, AGREEMENT = "review/merge", "review/agreement"
#: Analyses of a clip, in the order of the prompts.
CHANNELS = ("visual", "face", "audio")
#: A clip as a mapping with `name` and whatever the describers need; `subtitle` goes into the merge.
Clip = Mapping[str, Any]
_SHEET = ("name", "description", "verdict", "corrected", "reviewer")


def read_agreement(reply: str) -> Parsed:
    """Reader of `{"score": 0 … 10, "visual": "yes" or "no", …}`; `value` holds all of it."""
    found = parse_json(reply, ("score",), {"score": (int, float), **dict.fromkeys(CHANNELS, str)})
    if found.error:
        return found
    if not 0 <= float(found.fields["score"]) <= 10:
        return Parsed(error=f"score is {found.fields['score']}, not in 0 … 10")
    return Parsed(fields={"value": dict(found.fields)})


def why_dropped(agreement: Mapping[str, Any], threshold: float) -> str:
    """The reason to drop a description, "" to keep it."""
    against = [name for name in CHANNELS if str(agreement.get(name, "yes")).strip().lower().startswith("n")]
    if against:
        return f"disagrees with the {' and '.join(against)} analysis"
    score = float(agreement["score"])
    return f"low score {score:g} (below {threshold:g})" if score < threshold else ""


@dataclass
class ReviewEngine:
    """See the module text.

    `describers` give the analysis of a channel from a clip ("" where there is nothing to analyse), `writer` merges,
    `judge` scores (its `read` is `read_agreement`). `checks` are rules by name: clip and description → reason or "".
    `words` bounds the length of a description. `labels_of` gives basic emotions that classifiers found; a clip is kept
    when at least half of them are hit by its words on any wheel.
    """

    describers: Mapping[str, Callable[[Clip], str]]
    writer: Client
    judge: Judge
    audit: str | Path
    threshold: float = 6.0
    words: tuple[int, int] = (8, 400)
    checks: Mapping[str, Callable[[Clip, str], str]] = field(default_factory=dict)
    labels_of: Callable[[Clip], Sequence[str]] | None = None
    merge: Prompt = field(default_factory=lambda: load_prompt(MERGE))

    def __post_init__(self) -> None:
        if not self.describers or (unknown := set(self.describers) - set(CHANNELS)):
            raise ConfigError("describers", f"unknown: {', '.join(unknown) if self.describers else 'none given'}",
                              f"some of {', '.join(CHANNELS)}")  # fmt: skip

    def run(self, clips: Iterable[Clip]) -> dict[str, int]:
        """Review clips that the audit does not hold yet; counts of everything it then holds, by outcome."""
        path = Path(self.audit)
        path.parent.mkdir(parents=True, exist_ok=True)
        outcomes = {str(record["name"]): record["outcome"] for record in read_audit(path, mend=True)}
        failed = 0
        for clip in clips:
            name = str(clip["name"])
            if name in outcomes:
                continue
            try:
                record = self.one(clip)
            except ModelError:
                failed += 1
                continue
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record, ensure_ascii=False) + "\n")
            outcomes[name] = record["outcome"]
        counts = Counter(outcomes.values())
        return dict(counts) | ({"not asked": failed} if failed else {})

    def one(self, clip: Clip) -> dict[str, Any]:
        """The audit record of one clip: `outcome` is kept or the step that dropped it, `reason` why."""
        record: dict[str, Any] = {"name": str(clip["name"]), "outcome": "kept", "reason": ""}
        analyses = {name: describe(clip).strip() for name, describe in self.describers.items()}
        analyses = {name: text for name, text in analyses.items() if text}
        record |= {"analyses": analyses, "writer": dict(self.writer.identity), "merge": self.merge.record(),
                   "scorer": dict(self.judge.client.identity), "question": self.judge.prompt.record()}  # fmt: skip
        if not analyses:
            return record | {"outcome": "nothing to describe", "reason": "no analysis of any channel"}
        description = self.writer.reply(self.merge.messages(**analyses, subtitle=clip.get("subtitle"))).strip()
        record["description"] = description
        if reason := self._rule(clip, description):
            return record | {"outcome": "dropped by rule", "reason": reason}
        verdict = self.judge.ask(description=description, **analyses)
        if not verdict.reply:
            raise ModelError("scorer", verdict.error)
        record |= {"reply": verdict.reply, "agreement": verdict.value}
        if verdict.value is None:
            return record | {"outcome": "dropped by scorer", "reason": f"unreadable score: {verdict.error}"}
        if reason := why_dropped(verdict.value, self.threshold):
            return record | {"outcome": "dropped by scorer", "reason": reason}
        record["openset"] = list(extract_words(description).words)
        if self.labels_of is not None:
            record["labels"] = list(self.labels_of(clip))
            if reason := _labels_missed(record["openset"], record["labels"]):
                return record | {"outcome": "dropped by labels", "reason": reason}
        return record

    def _rule(self, clip: Clip, description: str) -> str:
        length = len(description.split())
        if not self.words[0] <= length <= self.words[1]:
            return f"length: {length} words, not {self.words[0]} to {self.words[1]}"
        return next((f"{name}: {why}" for name, check in self.checks.items() if (why := check(clip, description))), "")


def _labels_missed(words: Sequence[str], labels: Sequence[str]) -> str:
    """Why words do not fit labels; a label that no wheel holds, such as neutral, says nothing."""
    hits = scored = 0
    for label in labels:
        try:
            hits += wheel_hit_rate([label], [list(words)]) > 0
        except ValueError:
            continue
        scored += 1
    return f"words hit {hits} of {scored} labels ({', '.join(labels)})" if 2 * hits < scored else ""


def read_audit(path: str | Path, mend: bool = False) -> list[dict[str, Any]]:
    """Records of an audit file, [] where there is none. A last line that a killed run left unfinished is not read, and
    with `mend` taken out of the file; ConfigError names any other line that is no record."""
    file = Path(path)
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if mend and whole != text:
        file.write_text(whole, encoding="utf-8")
    found = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            record = json.loads(line)
            found.append({**record, "outcome": record["outcome"], "name": record["name"]})
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{file} line {number}", "is no record of a review", "give another audit file") from None
    return found


def self_reviewed(audit: str | Path) -> list[dict[str, Any]]:
    """Records (`name`, `reason`, `openset`) of the clips that were kept."""
    return [_record(entry["name"], entry["description"], "models") for entry in read_audit(audit)
            if entry["outcome"] == "kept"]  # fmt: skip


def write_sheet(audit: str | Path, path: str | Path, count: int, seed: int = 0) -> int:
    """A table (csv) of `count` kept descriptions, drawn at random, for a person to review: `verdict` keep or drop,
    `corrected` the better text, `reviewer` who it was. Gives how many there are. An existing table is never replaced.
    """
    file = Path(path)
    if file.exists():
        raise ConfigError(file, "exists already, and may hold somebody's work", "give another name")
    kept = [entry for entry in read_audit(audit) if entry["outcome"] == "kept"]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(kept))[:count])
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(_SHEET)
        table.writerows([kept[i]["name"], kept[i]["description"], "", "", ""] for i in chosen)
    return len(chosen)


def reviewed(path: str | Path) -> list[dict[str, Any]]:
    """Records of the rows that a person kept or corrected; rows without a verdict are not used.

    Keep them out of validation rows (`instructions.without_leaks`). ConfigError names a row with an unknown verdict.
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = []
    for line, row in enumerate(rows, 2):
        if missing := [name for name in _SHEET[:4] if row.get(name) is None]:
            raise ConfigError(f"{path} line {line}", f"lacks {', '.join(missing)}", "keep the columns as written")
        verdict, text = row["verdict"].strip().lower(), row["corrected"].strip()
        if verdict not in ("keep", "drop", ""):
            raise ConfigError(f"{path} line {line}", f"has the verdict {row['verdict']!r}", "write keep or drop")
        if verdict != "drop" and (verdict or text):
            found.append(_record(row["name"], text or row["description"].strip(), row.get("reviewer") or "a person"))
    return found


def _record(name: str, description: str, reviewer: str) -> dict[str, Any]:
    return {
        "name": name,
        "reason": description,
        "openset": list(extract_words(description).words),
        "reviewer": reviewer,
    }

"""Open words and a short explanation per person and turn, from the rows of a timeline, and never beyond them.

Without a writer the explanation is the evidence template: the usual wording of each fact. A writer (a language model,
see `lm.verbaliser`) puts the same facts into its own words; every sentence and word of it is checked against the rows
(`grounding`), what has none is dropped, and its raw answer is kept. An answer that is empty, loops, cannot be read,
comes too late, or of which nothing is left gives way to the template, which then stands under its own name. All of it
is counted in the meta data: `files[file]["descriptions"]`.

Rows written: `open_words` (label = word, score = probability of the row it rests on, NaN where it has none),
`description` (one sentence each, `refs` its rows), `generation` (text = the raw answer, label = its state) and, for
each sentence that was taken out, `generation` with the label `dropped: <reason>`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from affectus.analysis import grounding
from affectus.analysis.accounts import Account, accounts
from affectus.labels import wheels
from affectus.types import Timeline

if TYPE_CHECKING:
    from affectus.analysis.settings import Settings
    from affectus.lm.verbaliser import Generation, Writer

TEMPLATE = "template"
#: Open words per turn.
MOST_WORDS = 8
#: Called with the share that is done, 0…1.
Tell = Callable[[float], None]


@dataclass
class Tally:
    """What became of the turns of one file; `record` goes into the meta data."""

    writer: str
    identity: Mapping[str, Any]
    turns: int = 0
    left_out: int = 0
    fallbacks: int = 0
    sentences: int = 0
    words: int = 0
    states: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_words: int = 0

    def record(self) -> dict[str, Any]:
        """As plain values."""
        counts = {name: dict(sorted(getattr(self, name).items())) for name in ("states", "dropped")}
        return {**vars(self), "identity": dict(self.identity), **counts}


def describe(timeline: Timeline, writer: Writer | None = None, tell: Tell | None = None) -> Timeline:
    """The timeline with rows for words, descriptions and generations added, and counts in its meta data.

    Rows of an earlier description are replaced. Errors of a writer become states of its answers, never exceptions.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    spaces = pa.array(["open_words", "description", "generation"])
    bare = Timeline(
        timeline.table.filter(pc.invert(pc.is_in(timeline.table["space"], value_set=spaces))), timeline.meta
    )
    rows: list[dict[str, Any]] = []
    infos = {name: dict(info) for name, info in (timeline.meta.get("files") or {}).items()}
    for file in bare.files:
        found, left_out = accounts(bare, file)
        tally = Tally(writer.name if writer else TEMPLATE, writer.identity if writer else {}, left_out=left_out)
        for number, account in enumerate(found):
            rows += [{"file": file, **row} for row in _described(account, writer, tally)]
            if tell is not None:
                tell((number + 1) / len(found))
        infos.setdefault(file, {})["descriptions"] = tally.record()
    first = int(pc.max(bare.table["row"]).as_py() or 0) + 1 if len(bare) else 0
    numbered = [{**row, "row": first + i} for i, row in enumerate(rows)]
    added = Timeline.from_rows(numbered).table
    return Timeline(pa.concat_tables([bare.table, added]), {**timeline.meta, "files": infos})


def writer_of(settings: Settings) -> Writer:
    """The language model that the settings name; raises AffectusError when it cannot be had."""
    from affectus.lm.verbaliser import open_writer

    return open_writer(settings.llm, settings.device, settings.llm_timeout)


def template(account: Account) -> list[grounding.Kept]:
    """The usual wording of each fact of a turn, with its rows."""
    return [grounding.Kept(fact.ways[0], fact.rows) for fact in account.facts if fact.told]


def when(account: Account) -> str:
    """The place of a turn in words: `0:01.5–0:04.0`, or nothing where there are no times."""
    return f"{_clock(account.start)}–{_clock(account.end)}" if account.timed else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(10 * seconds), 600)
    return f"{minutes}:{rest / 10:04.1f}"


def _described(account: Account, writer: Writer | None, tally: Tally) -> Iterator[dict[str, Any]]:
    """Rows of one turn."""
    told = template(account)
    if not told:
        return
    tally.turns += 1
    shared = _place(account)
    words = _distinct(grounding.check_words(account.words, account).kept)
    by = {"words": TEMPLATE, "sentences": TEMPLATE}
    if writer is not None:
        answer = _ask(writer, account)
        checked, own = _checked(answer, account)
        yield from _raw(account, shared, writer.name, answer, checked, own, tally)
        if checked.kept:
            by["sentences"], told = writer.name, list(checked.kept)
            if own.kept:
                by["words"], words = writer.name, _distinct(own.kept)
        else:
            tally.fallbacks += 1
    known = account.words
    for word in words[:MOST_WORDS]:
        score, source = _strength(word.text, known)
        tally.words += 1
        yield {**shared, "method": by["words"], "space": "open_words", "source": source, "label": word.text,
               "score": score, "refs": list(word.rows)}  # fmt: skip
    for sentence in told:
        tally.sentences += 1
        yield {**shared, "method": by["sentences"], "space": "description", "source": "fusion", "text": sentence.text,
               "refs": list(sentence.rows)}  # fmt: skip


def _raw(
    account: Account,
    shared: dict[str, Any],
    name: str,
    answer: Generation,
    checked: grounding.Checked,
    own: grounding.Checked,
    tally: Tally,
) -> Iterator[dict[str, Any]]:
    """The raw answer with its state, and what was taken out of it."""
    state = answer.state if answer.state != "ok" or checked.kept else "nothing left"
    tally.states[state] += 1
    tally.dropped.update(checked.reasons())
    tally.dropped_words += len(own.dropped)
    offered = [row for fact in account.facts for row in fact.rows]
    note = {**shared, "method": name, "space": "generation", "source": "fusion"}
    yield {**note, "label": state, "text": answer.raw or answer.error, "refs": list(dict.fromkeys(offered))}
    for item in (*checked.dropped, *own.dropped):
        yield {**note, "label": f"dropped: {item.reason}", "text": item.text}


def _distinct(words: Sequence[grounding.Kept]) -> list[grounding.Kept]:
    """Words without further forms of the same one: of `happiness` and `happy` the first."""
    forms = wheels.load().forms
    found: dict[str, grounding.Kept] = {}
    for word in words:
        found.setdefault(forms.get(word.text, (word.text,))[0], word)
    return list(found.values())


def _strength(word: str, known: Mapping[str, tuple[float, tuple[int, ...], str]]) -> tuple[float, str]:
    """Probability and source of the strongest fact that shows a word."""
    own = grounding.families(word)
    same = [entry for name, entry in known.items() if name == word] or [
        entry for name, entry in known.items() if own & grounding.families(name)
    ]
    score, _, source = same[0] if same else (float("nan"), (), "fusion")
    return score, source


def _ask(writer: Writer, account: Account) -> Generation:
    from affectus.lm.verbaliser import Request

    evidence = tuple(fact.ways for fact in account.facts if fact.told)
    words = tuple(word.replace("_", " ") for word in account.words)
    return writer.write(Request(account.who, when(account), evidence, words, account.said))


def _checked(answer: Generation, account: Account) -> tuple[grounding.Checked, grounding.Checked]:
    """Sentences and words of an answer, sorted by whether rows hold them."""
    if answer.state != "ok":
        return grounding.Checked(), grounding.Checked()
    return grounding.check(answer.text, account), grounding.check_words(answer.words, account)


def _place(account: Account) -> dict[str, Any]:
    return {
        "start": account.start if np.isfinite(account.start) else float("nan"),
        "end": account.end if np.isfinite(account.end) else float("nan"),
        "frame": account.frame,
        "track": account.track,
        "speaker": account.speaker,
        "perspective": "expressed",
    }

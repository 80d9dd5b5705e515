"""Instruction data: records → questions with answers, mixed in given shares, the same for everybody with the same seed.

A record is a mapping with `name` and whatever is known about the clip; each kind of instruction asks for one thing:

| kind | needs | prompt | answer |
|---|---|---|---|
| description | `reason` | words/describe | the text |
| ovlabel | `openset` | words/open_words | the words in `<answer>`; with `_think` the `reason` before in `<think>` |
| onehot | `label` (and `labels`) | words/one_label | the label |
| valence | `valence` | words/valence | the number |
| sentiment | `valence` | words/sentiment | positive, negative, neutral |
| preference | `first`, `second`, `preferred` | words/preference | a1, a2, same |
| question | `question`, `answer` (and `history`) | general/question | the answer |
| caption_speaker, …_style, …_emotion, …_overall | that key | emotiontalk/caption | the sentence |

Every instruction names its record, kind and prompt, so that rewards and reports can be routed by kind.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from affectus.errors import ConfigError
from affectus.labels import wheels
from affectus.lm.prompts import Message, Prompt, load_prompt

if TYPE_CHECKING:
    from affectus.corpora import Corpus

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Instruction:
    """One question with its answer; `record` is where both come from."""

    kind: str
    messages: list[Message]
    answer: str
    record: Record
    prompt: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """One kind of instruction: prompt name, columns it needs, extra values of the prompt, and its answer."""

    prompt: str
    needs: tuple[str, ...]
    values: Callable[[Record], Mapping[str, Any]]
    answer: Callable[[Record], str]


def _words(record: Record) -> str:
    return ", ".join(wheels.parse_words(record["openset"]))


def _sign(record: Record) -> str:
    value = float(record["valence"])
    return "positive" if value > 0 else "negative" if value < 0 else "neutral"


def _candidates(record: Record) -> dict[str, Any]:
    labels = record.get("labels")
    return {"labels": None if labels is None else ", ".join(labels)}


def _pair(record: Record) -> dict[str, Any]:
    return {"first": record["first"], "second": record["second"]}


def _asked(record: Record) -> dict[str, Any]:
    return {"question": record["question"], "history": record.get("history")}


def _range(record: Record) -> dict[str, Any]:
    return {name: record[name] for name in ("low", "high") if name in record}


def _thinking(record: Record) -> str:
    return f"<think>{record['reason']}</think><answer>{_words(record)}</answer>"


#: Aspects of speech captions (EmotionTalk), and how they are asked for.
CAPTIONED = {
    "speaker": "who is heard: age, sex and timbre of the voice",
    "style": "the manner of speaking: pitch, pace, loudness and pauses",
    "emotion": "which emotion the voice expresses",
    "overall": "the speaker, the manner of speaking and the expressed emotion together",
}


def _caption(aspect: str) -> Kind:
    key = f"caption_{aspect}"
    return Kind("emotiontalk/caption", (key,), lambda _: {"aspect": CAPTIONED[aspect]}, lambda r: str(r[key]))


KINDS: dict[str, Kind] = {
    "description": Kind("words/describe", ("reason",), lambda _: {}, lambda r: str(r["reason"])),
    "ovlabel": Kind(
        "words/open_words", ("openset",), lambda _: {"think": None}, lambda r: f"<answer>{_words(r)}</answer>"
    ),
    "ovlabel_think": Kind("words/open_words", ("openset", "reason"), lambda _: {"think": "yes"}, _thinking),
    "onehot": Kind("words/one_label", ("label",), _candidates, lambda r: str(r["label"])),
    "valence": Kind("words/valence", ("valence",), _range, lambda r: f"{float(r['valence']):.2f}"),
    "sentiment": Kind("words/sentiment", ("valence",), lambda _: {}, _sign),
    "preference": Kind("words/preference", ("first", "second", "preferred"), _pair, lambda r: str(r["preferred"])),
    "question": Kind("general/question", ("question", "answer"), _asked, lambda r: str(r["answer"])),
    **{f"caption_{aspect}": _caption(aspect) for aspect in CAPTIONED},
}


def build_instruction(
    record: Record, kind: str, slots: Mapping[str, str] | None = None, prompt: Prompt | None = None
) -> Instruction:
    """The instruction of a kind for a record.

    `slots` fills media places of the prompt (`Processor.slots`); `subtitle` and `evidence` of the record go in by
    themselves.
    ConfigError when the record lacks what the kind needs, and for an unknown kind.
    """
    own = _kind(kind)
    if missing := [column for column in own.needs if not _given(record, column)]:
        raise ConfigError(f"record {record.get('name', '')}", f"lacks {', '.join(missing)} for the instruction {kind}")
    text = prompt or load_prompt(own.prompt)
    return Instruction(kind, question(record, kind, slots, text), own.answer(record), record, text.record())


def question(
    record: Record, kind: str, slots: Mapping[str, str] | None = None, prompt: Prompt | None = None
) -> list[Message]:
    """The messages that ask for an instruction of a kind; the record needs no answer."""
    own = _kind(kind)
    text = prompt or load_prompt(own.prompt)
    told = {name: record.get(name) for name in ("subtitle", "evidence")}
    values = {**(slots or {}), **told, **own.values(record)}
    return text.messages(**{name: value for name, value in values.items() if name in text.known})


def _kind(kind: str) -> Kind:
    if kind not in KINDS:
        raise ConfigError(f"instruction {kind!r}", "no such kind", f"there are {', '.join(KINDS)}")
    return KINDS[kind]


def possible_kinds(record: Record, among: Sequence[str] = tuple(KINDS)) -> list[str]:
    """Kinds that a record has the columns for."""
    return [kind for kind in among if all(_given(record, column) for column in KINDS[kind].needs)]


def _given(record: Record, column: str) -> bool:
    value = record.get(column)
    if value is None or value == "" or (isinstance(value, float) and value != value):
        return False
    return column != "openset" or bool(wheels.parse_words(value))


@dataclass(frozen=True)
class Mixer:
    """Records mixed into instructions.

    `shares` weighs the kinds; a record draws among those it has the columns for, in proportion. `{"description": 1,
    "ovlabel": 1}` is AffectGPT's mixed target. The draw depends on seed, epoch and the record's place only, not on
    order of access, workers or resumption. Records that fit no kind are counted, never replaced (`skipped`).
    """

    records: Sequence[Record]
    shares: Mapping[str, float]
    seed: int = 0
    slots: Callable[[Record], Mapping[str, str]] | None = None
    prompts: Mapping[str, Prompt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.shares) - set(KINDS)):
            raise ConfigError("instruction mix", f"unknown kinds {', '.join(unknown)}", f"there are {', '.join(KINDS)}")
        if not self.shares or min(self.shares.values()) < 0 or sum(self.shares.values()) <= 0:
            raise ConfigError("instruction mix", "needs shares of at least zero that are not all zero")
        usable = [i for i, record in enumerate(self.records) if self._kinds(record)]
        object.__setattr__(self, "_usable", usable)

    def _kinds(self, record: Record) -> list[str]:
        return possible_kinds(record, [kind for kind, share in self.shares.items() if share > 0])

    def __len__(self) -> int:
        return len(self._usable)  # type: ignore[attr-defined]

    @property
    def skipped(self) -> int:
        """Records that lack the columns of every kind in the mix."""
        return len(self.records) - len(self)

    def kind(self, number: int, epoch: int = 0) -> str:
        """The kind drawn for the number-th usable record in an epoch."""
        place = self._usable[number]  # type: ignore[attr-defined]
        kinds = self._kinds(self.records[place])
        weights = [self.shares[kind] for kind in kinds]
        content = f"{self.seed}/{epoch}/{place}".encode()
        draw = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") / 2**64 * sum(weights)
        for kind, weight in zip(kinds, weights, strict=True):
            draw -= weight
            if draw < 0:
                return kind
        return kinds[-1]

    def item(self, number: int, epoch: int = 0) -> Instruction:
        """The instruction of the number-th usable record in an epoch."""
        record = self.records[self._usable[number]]  # type: ignore[attr-defined]
        kind = self.kind(number, epoch)
        return build_instruction(record, kind, self.slots(record) if self.slots else None, self.prompts.get(kind))

    def epoch(self, epoch: int = 0) -> Iterator[Instruction]:
        """All instructions of an epoch, in the order of the records."""
        return (self.item(number, epoch) for number in range(len(self)))

    def counts(self, epoch: int = 0) -> dict[str, int]:
        """How many instructions of each kind an epoch holds."""
        return dict(Counter(self.kind(number, epoch) for number in range(len(self))))


def records_of(corpus: Corpus, words: str = "labels:openset") -> list[dict[str, Any]]:
    """Records of all rows of a corpus, from the columns it has: `words` (open words, or several labels of a closed
    space, which are words too), `meta:reason`, the first `label:` column, `dim:valence` or `raw:valence`, and
    `meta:question`, `:answer`, `:history`, `:task`. `name` is the id of the row; what a row does not know is left
    out."""
    columns = corpus.table.column_names
    given = {"openset": words, "reason": "meta:reason"}
    given |= {key: f"meta:{key}" for key in ("question", "answer", "history", "task")}
    given |= {"valence": next((c for c in ("dim:valence", "raw:valence") if c in columns), "")}
    closed = next((c for c in columns if c.startswith("label:")), "")
    taken = {key: corpus.column(column) for key, column in given.items() if column in columns}
    if closed:
        taken["label"] = corpus.column(closed)
    found = []
    for i, name in enumerate(corpus.column("id")):
        own = {key: values[i] for key, values in taken.items() if _given({key: values[i]}, key)}
        found.append({"name": name, **own, **({"labels": corpus.labels(closed)} if "label" in own else {})})
    return found


def without_leaks(records: Sequence[Record], evaluated: Sequence[str]) -> tuple[list[Record], list[str]]:
    """Records whose `name` is in no evaluation list, and the names that were dropped (tell their number)."""
    banned = set(evaluated)
    dropped = [str(record["name"]) for record in records if record["name"] in banned]
    return [record for record in records if record["name"] not in banned], dropped

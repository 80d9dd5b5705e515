"""Asking a language model for the emotion of one utterance of a conversation.

A record, a plain dict, says what is asked: `turns` (list of speaker and words), `target` (position of the utterance),
and what is known about it: `explicit`, `implicit`, `character` (texts, "" where there is none) and `demonstrations`
(list of words, label, corpus, cosine). `DialoguePrompt` turns records into messages by a prompt file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from affectus import corpora
from affectus.corpora import Corpus
from affectus.errors import ConfigError, MediaError
from affectus.features.inputs import InputSpec
from affectus.lm.demonstrations import Shown
from affectus.lm.interpretations import lines_of
from affectus.lm.prompts import Message, load_prompt
from affectus.types import Turn

#: What stands for a speaker whose name is not known.
NOBODY = "SPEAKER"

#: Names that the public data of PRC-Emo give to the speakers of IEMOCAP, by session and sex.
_ACTORS = {"1": ("MARY", "JAMES"), "2": ("PATRICIA", "JOHN"), "3": ("JENNIFER", "ROBERT"), "4": ("LINDA", "MICHAEL"),
           "5": ("ELIZABETH", "WILLIAM")}  # fmt: skip


@dataclass(frozen=True)
class AskedTurn(InputSpec):
    """The turns of a transcript → the record that asks for its last one."""

    takes: ClassVar[str] = "turns"

    @property
    def shape(self) -> tuple[int, ...]:
        """()."""
        return ()

    def __call__(self, raw: Sequence[Turn | str] | str) -> Any:
        turns = spoken([raw] if isinstance(raw, str) else raw)
        if not turns:
            raise MediaError("conversation", "holds no turn", "give a transcript with at least one")
        return {"turns": turns, "target": len(turns) - 1}


def spoken(turns: Sequence[Turn | str]) -> list[list[str]]:
    """Speaker and words of turns, blanks and line breaks made plain."""
    pairs = [(turn.speaker, turn.text) if isinstance(turn, Turn) else ("", turn) for turn in turns]
    return [[_plain(speaker) or NOBODY, _plain(text)] for speaker, text in pairs]


def place_of(record: Mapping[str, Any]) -> int:
    """Position of the utterance that a record asks for; ConfigError when it is not among its turns."""
    turns, target = record["turns"], int(record["target"])
    if not 0 <= target < len(turns):
        raise ConfigError("dialogue", f"asks for turn {target} of {len(turns)}")
    return target


@dataclass(frozen=True)
class DialoguePrompt:
    """Records → messages by the prompt file `name`.

    `window` turns before the utterance are shown, and as many after it unless `turns` is "past". `interpretations`,
    `characters` and `demonstrations` switch their blocks; a block also stays out where the record has nothing for it.
    """

    name: str
    labels: tuple[str, ...]
    window: int = 5
    turns: Literal["around", "past"] = "around"
    interpretations: bool = True
    characters: bool = True
    demonstrations: int = 3

    def messages(self, record: Mapping[str, Any]) -> list[Message]:
        """Messages of one record. ConfigError for a target that is not among its turns."""
        turns, target = record["turns"], place_of(record)
        last = target + 1 + (self.window if self.turns == "around" else 0)
        speaker, utterance = turns[target]
        explicit, implicit = (_plain(str(record.get(name) or "")) for name in ("explicit", "implicit"))
        shown = [Shown(*one) for one in (record.get("demonstrations") or ())[: self.demonstrations]]
        values = {
            "context": lines_of(turns[max(0, target - self.window) : last]),
            "speaker": speaker,
            "utterance": utterance,
            "labels": ", ".join(self.labels),
            "character": _plain(str(record.get("character") or "")) if self.characters else "",
            "interpretation": "yes" if self.interpretations and (explicit or implicit) else "",
            "explicit": explicit,
            "implicit": implicit,
            "demonstrations": _numbered(shown),
            "examples": "\n".join(f'"{_plain(one.text)}" → {one.label}' for one in shown),
        }
        prompt = load_prompt(self.name)
        return prompt.messages(**{name: value for name, value in values.items() if name in prompt.known})


def fitting(
    ask: Callable[[Mapping[str, Any]], list[Message]],
    record: Mapping[str, Any],
    size: Callable[[list[Message]], int],
    room: int,
) -> tuple[list[Message], str]:
    """Messages of a record with at most `room` tokens, and a note on what was left out for it ("" for nothing): first
    the turns farthest from the utterance, then demonstrations from the least similar on, last the end of its words.

    ConfigError when nothing more can be left out.
    """
    found = ask(record)
    if size(found) <= room:
        return found, ""
    own, target = dict(record), int(record["target"])
    while own.get("demonstrations") or len(own["turns"]) > 1 or own["turns"][target][1]:
        turns = own["turns"]
        if len(turns) > 1:
            first = target >= len(turns) - 1 - target
            own["turns"], target = (turns[1:], target - 1) if first else (turns[:-1], target)
            own["target"], note = target, "turns left out of a long prompt"
        elif own.get("demonstrations"):
            own["demonstrations"], note = own["demonstrations"][:-1], "demonstrations left out of a long prompt"
        else:
            words = turns[0][1]
            own["turns"], note = [[turns[0][0], words[: len(words) // 2].rstrip()]], "end of a long utterance left out"
        if size(found := ask(own)) <= room:
            return found, note
    raise ConfigError("prompt", f"has more than {room} tokens without any turn", "raise context, or shorten its texts")


class UtteranceItems(Sequence[dict[str, Any]]):
    """Labelled utterances of a corpus as training items: `id`, `dialogue` (the record), `label` and `vector` of its
    words; `difficulty` (n,) of their conversations stands beside them. Rows with label -1 are no items."""

    def __init__(
        self,
        ids: Sequence[str],
        records: Sequence[Mapping[str, Any]],
        labels: np.ndarray,
        vectors: np.ndarray,
        difficulty: np.ndarray,
    ) -> None:
        self.ids, self.records, self.vectors = ids, records, vectors
        self.targets = {"label": labels}
        self.kept = np.flatnonzero(labels >= 0)
        self.difficulty = difficulty[self.kept]

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: Any) -> Any:
        row = int(self.kept[index])
        return {"id": self.ids[row], "dialogue": dict(self.records[row]), "label": self.targets["label"][row],
                "vector": self.vectors[row]}  # fmt: skip


def corpus_records(corpus: Corpus, window: int) -> tuple[list[dict[str, Any]], Corpus, np.ndarray]:
    """Records of the rows of a corpus with up to `window` turns on either side, taken from the whole corpus that the
    rows may be a part of; that corpus, and the place of each row in it."""
    whole = corpora.load(corpus.name, corpus.files.root, strict=False)
    names, texts = [actor(name) for name in whole.column("speaker")], whole.column("text")
    talks = {int(row): (rows, i) for rows in whole.dialogues().values() for i, row in enumerate(rows)}
    place = {name: row for row, name in enumerate(whole.column("id"))}
    wanted = np.array([place[name] for name in corpus.column("id")], np.int64)
    records = []
    for row in wanted.tolist():
        rows, target = talks[row]
        first = max(0, target - window)
        turns = [Turn(texts[i] or "", speaker=names[i]) for i in rows[first : target + window + 1]]
        records.append({"turns": spoken(turns), "target": target - first})
    return records, whole, wanted


def actor(name: str | None) -> str:
    """The name of a speaker as prompts give it: speakers of IEMOCAP (Ses01F) get the names of the public data."""
    if found := re.fullmatch(r"Ses0([1-5])([FM])", name or ""):
        return _ACTORS[found[1]][found[2] == "M"]
    return name or ""


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())


def _numbered(shown: Sequence[Shown]) -> str:
    return "\n".join(
        f'{i}. "{_plain(one.text)}" → {one.label} (from {one.dataset}, similarity: {one.similarity:.2f})'
        for i, one in enumerate(shown, 1)
    )

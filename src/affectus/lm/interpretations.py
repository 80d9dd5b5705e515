"""What a language model reads between the lines of a conversation: the explicit and implicit emotion of an utterance
and the character of a speaker (stage 1 of PRC-Emo).

`extract` asks a `Judge` client with the prompts `prc_emo/interpretation` and `prc_emo/character` and writes one JSON
line per row of a corpus: `id`, `explicit`, `implicit`, `character`. Replies are kept by the hash of model, options and
messages, so replies of two models never mix and a killed run goes on. Replies that cannot be read are counted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectus.errors import ConfigError
from affectus.lm.judge import Client, Judge
from affectus.lm.prompts import load_prompt
from affectus.lm.tags import Parsed, parse_json

if TYPE_CHECKING:
    from affectus.corpora import Corpus

#: Speaker and words of a turn.
Spoken = tuple[str, str]

_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_MARK = re.compile(r"[\"'*]*(ExplicitEmotion|ImplicitEmotion)[\"'*]*\s*:\s*", re.IGNORECASE)
#: Utterances before the one in focus that the interpretation prompt shows.
WINDOW = 5


def parse_interpretation(reply: str) -> Parsed:
    """Fields `explicit` and `implicit` of a reply.

    As published: the first JSON object that begins with ExplicitEmotion; else what follows the last marks
    `ExplicitEmotion:` and `ImplicitEmotion:`; else the whole reply as implicit, with an empty explicit text. The last
    two are named in `repairs`. Thinking in `<think>` is dropped first.
    """
    text = _THOUGHT.sub("", reply or "").strip()
    if not text:
        return Parsed(error="the answer is empty")
    for start in re.finditer(r"\{\s*[\"']ExplicitEmotion", text):
        found = parse_json(text[start.start() :].partition("}")[0] + "}", ("ExplicitEmotion", "ImplicitEmotion"))
        if found.ok:
            own = {"explicit": found["ExplicitEmotion"], "implicit": found["ImplicitEmotion"]}
            whole = (
                text == (reply or "").strip() and text.startswith("{") and text.count("{") == 1 and text.endswith("}")
            )
            kept = {name: str(value).strip() for name, value in own.items()}
            return Parsed(kept, whole and found.exact, () if whole else ("text around the JSON dropped",))
    marks = list(_MARK.finditer(text))
    if not marks:
        return Parsed({"explicit": "", "implicit": text}, repairs=("no mark found: all of it taken as implicit",))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    told = {mark[1].lower()[:8]: text[mark.end() : end].strip(" \n\t,{}\"'*")
            for mark, end in zip(marks, ends, strict=True)}  # fmt: skip
    return Parsed({"explicit": "", "implicit": "", **told}, repairs=("fields found by their marks",))


def parse_character(reply: str) -> Parsed:
    """Field `character` of a reply whose JSON has the key `Response`."""
    found = parse_json(_THOUGHT.sub("", reply or ""), ("Response",))
    return Parsed({"character": str(found["Response"]).strip()}, found.exact, found.repairs) if found.ok else found


def lines_of(turns: Sequence[Spoken]) -> str:
    """A conversation as lines `NAME: "text"`."""
    return "\n".join(f'{speaker}: "{text}"' for speaker, text in turns)


class Interpreter:
    """Asks both questions about conversations; `counts` says how many replies could not be read or were mended."""

    def __init__(self, client: Client, folder: str | Path | None = None, window: int = WINDOW) -> None:
        self.window, self.counts = window, Counter[str]()
        self._judges = {
            name: Judge(client, load_prompt(f"prc_emo/{name}"), partial(_whole, read), folder)
            for name, read in (("interpretation", parse_interpretation), ("character", parse_character))
        }

    def utterance(self, turns: Sequence[Spoken], place: int) -> dict[str, str]:
        """`explicit` and `implicit` of an utterance from it and the `window` before it."""
        speaker, text = turns[place]
        context = lines_of(turns[max(0, place - self.window) : place + 1])
        return self._ask("interpretation", {"explicit": "", "implicit": ""},
                         {"context": context, "speaker": speaker, "utterance": text})  # fmt: skip

    def character(self, turns: Sequence[Spoken], speaker: str) -> str:
        """What a speaker is like, from the whole conversation: later turns included, as published."""
        return self._ask("character", {"character": ""}, {"context": lines_of(turns), "speaker": speaker})["character"]

    def _ask(self, name: str, nothing: dict[str, str], values: Mapping[str, Any]) -> dict[str, str]:
        verdict = self._judges[name].ask(**values)
        if verdict.value is None:
            self.counts[f"{name} without a readable reply"] += 1
            return nothing
        fields, repairs = verdict.value
        self.counts.update(f"{name}: {repair}" for repair in repairs)
        return {**nothing, **fields}

    def record(self) -> dict[str, Any]:
        """What a result must say about its interpretations: models, prompts with hash, counts."""
        return {"counts": dict(self.counts)} | {name: judge.record() for name, judge in self._judges.items()}


def _whole(read: Callable[[str], Parsed], reply: str) -> Parsed:
    """All fields of a reply and its repairs as one value, which is what a judge hands on."""
    found = read(reply)
    return Parsed({"value": (dict(found.fields), found.repairs)}, found.exact) if found.ok else found


def extract(corpus: Corpus, interpreter: Interpreter, path: str | Path) -> dict[str, Any]:
    """Ask about every row of a corpus of conversations and write the lines; returns the record of the interpreter,
    which is also written beside them as `<name>.record.json`."""
    target = Path(path)
    texts, names, ids = (corpus.column(name) for name in ("text", "speaker", "id"))
    told: list[dict[str, Any]] = [{} for _ in ids]
    for rows in corpus.dialogues().values():
        turns = [(names[row] or "", texts[row] or "") for row in rows]
        characters = {speaker: interpreter.character(turns, speaker) for speaker in {name for name, _ in turns}}
        for place, row in enumerate(rows):
            told[row] = {
                "id": ids[row],
                **interpreter.utterance(turns, place),
                "character": characters[turns[place][0]],
            }
    unfinished = target.with_suffix(".partial")
    unfinished.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in told), encoding="utf-8")
    unfinished.replace(target)
    record = interpreter.record()
    target.with_suffix(".record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def read_interpretations(path: str | Path) -> dict[str, dict[str, str]]:
    """Lines that `extract` wrote, by id. ConfigError naming the first wrong line."""
    found: dict[str, dict[str, str]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"cannot be read: {error}", "write it with lm.interpretations.extract") from None
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            found[str(entry["id"])] = {str(name): str(value) for name, value in entry.items() if name != "id"}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(path, f"line {number} is no record with an id") from None
    return found


def words_cue(texts: Sequence[str], least: float = 0.25, most: int = 2) -> list[str]:
    """What the words of each text show by the library's own words model: its likeliest emotions that are not neutral;
    "" where none reaches the probability `least` or there is no text. Ours, not of the paper: it names
    emotions, and it costs milliseconds."""
    from affectus import models

    model: Any = models.load("words")
    filled = [i for i, text in enumerate(texts) if text.strip()]
    found = [""] * len(texts)
    for i, prediction in zip(filled, model.predict([texts[i] for i in filled]), strict=True):
        ranked = sorted(zip(prediction.scores, prediction.labels, strict=True), reverse=True)
        found[i] = ", ".join([label for score, label in ranked if label != "neutral" and score >= least][:most])
    return found

"""Facts about a turn, in words, each with the rows of the timeline it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from affectus.analysis.accounts import Rows

#: Least probability of an emotion in the words of a turn, and of a leading expression of face and voice, to be named.
WORDS_FROM, LEADING_FROM = 0.25, 0.45
#: Probability below which every source denies an emotion.
DENIED = 0.05
#: Words whose change matters, facial movements and changes of the voice that are named per turn.
MOST_WORDS, MOST_CUES, MOST_CHANGES = 3, 3, 2
_VERBS = {"face": ("shows", "looks closest to"), "voice": ("sounds closest to", "is closest to")}


@dataclass(frozen=True)
class Fact:
    """One thing the rows say.

    `source` is the modality (`face`, `voice`, `words`, `fusion`); `ways` are wordings of it, the first is the usual
    one; `rows` what it rests on; `words` the emotion words it allows with their probabilities (NaN unknown). `told` is
    False for what may be said but is not said by itself; `named` is True where emotions are only spoken of.
    """

    source: str
    ways: tuple[str, ...]
    rows: tuple[int, ...]
    words: Mapping[str, float] = field(default_factory=dict)
    told: bool = True
    named: bool = False


#: Columns and the places in them that belong to a turn.
Part = tuple["Rows", np.ndarray]


def facts_of(
    who: str, said: tuple[str, int], marks: Part, scores: Part, affect: Part
) -> tuple[tuple[Fact, ...], dict[str, int]]:
    """Facts of a turn, the joint answer first, and the labels that every source denies with the row that says so.

    `said` is the text of the turn and its row; `marks` are decisions, conflicts and evidence, `scores` rows of label
    spaces, `affect` the fused valence and arousal.
    """
    found = [*_decided(who, marks), *_face(marks, scores), *_voice(marks, scores), *_words(said, marks, scores)]
    found += [*_split(marks), *_affect(affect)]
    return tuple(found), _denied(scores)


def percent(value: float) -> str:
    """A probability as it stands in sentences."""
    return f"{value:.0%}"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _decided(who: str, marks: Part) -> list[Fact]:
    """What fusion names: the label with most weight over the turn, and a second one that is named as well."""
    rows, places = marks
    own = places[rows.space[places] == "decision"]
    weight: dict[str, float] = {}
    best: dict[str, int] = {}
    for i in own:
        label = str(rows.label[i])
        weight[label] = weight.get(label, 0.0) + float(rows.score[i])
        if label not in best or rows.score[i] > rows.score[best[label]]:
            best[label] = int(i)
    emotions = sorted((n for n in weight if n not in ("uncertain", "neutral")), key=lambda n: -weight[n])
    facts = []
    for place, name in enumerate(emotions[:2] or [n for n in ("neutral",) if n in weight]):
        p, row = float(rows.score[best[name]]), (int(rows.row[best[name]]),)
        if name == "neutral":
            ways = [
                f"{who}: the perceived expression is neutral ({percent(p)}).",
                f"The perceived expression of {who} is neutral ({percent(p)}).",
            ]
        elif place == 0:
            ways = [
                f"{who}: perceived {name} ({percent(p)}).",
                f"{who} is perceived as expressing {name} ({percent(p)}).",
                f"The perceived expression of {who} is {name} ({percent(p)}).",
            ]
        else:
            ways = [f"For a part of it {name} is perceived ({percent(p)}).", f"There is {name} too ({percent(p)})."]
        facts.append(Fact("fusion", tuple(ways), row, {name: p}))
    if not facts and "uncertain" in best:
        row = (int(rows.row[best["uncertain"]]),)
        unclear = (f"{who}: no single expression stands out.", f"No expression of {who} is clear enough to be named.")
        facts.append(Fact("fusion", unclear, row))
    return facts


def _reading(part: Part, source: str) -> tuple[str, float, int] | None:
    """Label with the highest mean score of a source over a turn, its highest score, and the row of that."""
    rows, places = part
    own = places[rows.source[places] == source]
    if not len(own):
        return None
    labels = rows.label[own]
    names = sorted(set(labels.tolist()))
    means = [float(np.nanmean(rows.score[own[labels == name]])) for name in names]
    name = names[int(np.argmax(means))]
    some = own[labels == name]
    peak = int(some[int(np.nanargmax(rows.score[some]))])
    return name, float(rows.score[peak]), int(rows.row[peak])


def _read(part: Part, source: str) -> list[Fact]:
    reading = _reading(part, source)
    if reading is None or reading[1] < LEADING_FROM:
        return []
    name, p, row = reading
    if name == "neutral":
        verbs = ("looks", "is") if source == "face" else ("sounds", "is")
    else:
        verbs = _VERBS[source]
    ways = tuple(f"The {source} {verb} {name} ({percent(p)})." for verb in verbs)
    return [Fact(source, ways, (row,), {name: p})]


def _evidence(marks: Part, source: str, method: str) -> list[int]:
    """Places of evidence rows of a source and method, the strongest of each text first."""
    rows, places = marks
    mask = (rows.space[places] == "evidence") & (rows.source[places] == source) & (rows.method[places] == method)
    ranked = sorted(places[mask].tolist(), key=lambda i: -abs(float(rows.score[i])))
    return list({str(rows.text[i]): i for i in reversed(ranked)}.values())[::-1]


def _face(marks: Part, scores: Part) -> list[Fact]:
    facts, rows = _read(scores, "face"), marks[0]
    moved = _evidence(marks, "face", "blendshapes")[:MOST_CUES]
    if moved:
        shown = listed([str(rows.text[i]) for i in moved])
        ways = (f"Visible in the face: {shown}.", f"The face has {shown}.")
        facts.append(Fact("face", ways, tuple(int(rows.row[i]) for i in moved)))
    for i in _evidence(marks, "face", "occlusion")[:1]:
        text = str(rows.text[i])
        named = [name for name in _labels(scores, "face") if f" {name} " in f" {text} "]
        way = f"{text[:1].upper()}{text[1:]}."
        facts.append(Fact("face", (way,), (int(rows.row[i]),), dict.fromkeys(named, float("nan"))))
    return facts


def _labels(part: Part, source: str) -> list[str]:
    rows, places = part
    return sorted(set(rows.label[places[rows.source[places] == source]].tolist()))


def _voice(marks: Part, scores: Part) -> list[Fact]:
    rows = marks[0]
    facts = _read(scores, "voice")
    for i in _evidence(marks, "voice", "prosody")[:MOST_CHANGES]:
        text = str(rows.text[i])
        ways = (f"In the voice: {text}.", f"The voice is unusual: {text}.")
        facts.append(Fact("voice", ways, (int(rows.row[i]),)))
    return facts


def _words(said: tuple[str, int], marks: Part, scores: Part) -> list[Fact]:
    """What the words of a turn express, which of them matter, which emotions they name, and the text itself."""
    rows, places = scores
    own = places[rows.source[places] == "words"]
    ranked = sorted((int(i) for i in own if rows.score[i] >= WORDS_FROM), key=lambda i: -float(rows.score[i]))
    some = [i for i in ranked if rows.label[i] != "neutral"][:MOST_WORDS] or ranked[:1]
    facts = []
    if some:
        shown = listed([f"{rows.label[i]} ({percent(float(rows.score[i]))})" for i in some])
        ways = (f"The words express {shown}.", f"What is said reads as {shown}.")
        allowed = {str(rows.label[i]): float(rows.score[i]) for i in some}
        facts.append(Fact("words", ways, tuple(int(rows.row[i]) for i in some), allowed))
    marked = marks[0]
    telling = _evidence(marks, "words", "leave-one-out")[:2]
    if telling:
        quoted = listed([f"“{marked.text[i]}”" for i in telling])
        ways = (f"Most telling of the words: {quoted}.", f"The words lean on {quoted}.")
        facts.append(Fact("words", ways, tuple(int(marked.row[i]) for i in telling)))
    text, row = said
    if row >= 0:
        named = emotion_words(text)
        if named:
            way = f"The words name {listed([f'“{word}”' for word in named])}."
            facts.append(Fact("words", (way,), (row,), dict.fromkeys(named, float("nan")), named=True))
        facts.append(Fact("words", (text,), (row,), told=False))
    return facts


def emotion_words(text: str, most: int = 4) -> list[str]:
    """Emotion words that a text names and does not take back."""
    from affectus.lm.extraction import extract_words

    return list(extract_words(text[:2000]).words)[:most]


def _split(marks: Part) -> list[Fact]:
    """The strongest disagreement of a turn."""
    rows, places = marks
    own = places[rows.space[places] == "conflict"]
    if not len(own):
        return []
    i = int(own[int(np.nanargmax(rows.score[own]))])
    first, _, second = str(rows.label[i]).partition("|")
    bits = f"{float(rows.score[i]):.2f} of 1 bit"
    ways = (
        f"The {first} and the {second} point to different expressions ({bits}).",
        f"The {first} disagrees with the {second} ({bits}).",
    )
    return [Fact("fusion", ways, (int(rows.row[i]),))]


def _affect(affect: Part) -> list[Fact]:
    """Mean valence and arousal, in the row nearest to it."""
    rows, places = affect
    facts = []
    for name in ("valence", "arousal"):
        own = places[(rows.label[places] == name) & np.isfinite(rows.score[places])]
        if len(own):
            i = int(own[int(np.argmin(np.abs(rows.score[own] - rows.score[own].mean())))])
            way = f"Perceived {name} is {float(rows.score[i]):+.2f}."
            facts.append(Fact("fusion", (way,), (int(rows.row[i]),), told=False))
    return facts


def _denied(scores: Part) -> dict[str, int]:
    """Labels to which no row gives `DENIED` or more → the row with their highest score."""
    rows, places = scores
    top: dict[str, int] = {}
    for i in places:
        name = str(rows.label[i])
        if name not in top or rows.score[i] > rows.score[top[name]]:
            top[name] = int(i)
    return {name: int(rows.row[i]) for name, i in top.items() if rows.score[i] < DENIED}

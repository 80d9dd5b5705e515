"""What sentences express: the words model on turns, and which words it rests on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from affectus.analysis.fusion import to_common
from affectus.analysis.rows import RowSink
from affectus.media import split_sentences
from affectus.types import Prediction, Turn

if TYPE_CHECKING:
    from affectus.models.words import WordsModel

#: Turns per call of the model.
BATCH = 64
#: Longest text (characters) that is scored in one piece; longer turns are the mean of their sentences.
LONGEST = 400
#: Words of one turn that are left out one by one, at most.
MOST_WORDS = 48
_LETTER = re.compile(r"[^\W\d_]")
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")
_LETTERS = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_NOTE = re.compile(r"\[[^\[\]]*\]")
_WORD = re.compile(r"\S+")
_COMMON_LIST = (
    "the a an and or but of to in on at for with is are was were be been it this that i you he she we they not do did "
    "have has had as my your his her our their me so if what there from all just no yes can will would"
)
_COMMON = frozenset(_COMMON_LIST.split())
# Function words of German, French, Spanish, Italian, Portuguese and Dutch that English does not have.
_ELSEWHERE_LIST = (
    "ich du wir ihr und nicht ist das ein eine auf mit sich bin hast auch wie aber heute sehr je tu il elle nous vous "
    "et est une le les des pas que qui dans pour avec suis ne très el los las una yo muy con por para pero está soy "
    "como ti gli della che sono non molto anche perché os um uma não eu você muito estás het een ik niet van zijn"
)
_ELSEWHERE = frozenset(_ELSEWHERE_LIST.split())
#: From this many of these on, and more than twice as many as common English words, a short text is not English.
_FEW = 3


@dataclass
class WordsTurn:
    """One turn: its text and place, the prediction (None where it was not scored), its posterior (7,) over `ekman7`,
    the face track of who said it or -1, the rows of its transcript and its leading label, its telling words as
    (word, drop of the leading label, row), the id of its conversation where a file holds several, and its
    posterior (7,) without what was said before it."""

    turn: Turn
    number: int
    prediction: Prediction | None = None
    posterior: np.ndarray | None = None
    track: int = -1
    row: int = -1
    top_row: int = -1
    telling: list[tuple[str, float, int]] = field(default_factory=list)
    conversation: str = ""
    alone: np.ndarray | None = None

    @property
    def affect(self) -> tuple[float, float]:
        """Valence and arousal as predicted, NaN where unknown."""
        known = self.prediction.dimensions if self.prediction is not None else {}
        return known.get("valence", float("nan")), known.get("arousal", float("nan"))


class Unread(NamedTuple):
    """Turns that were not scored: in another script, and without any word."""

    script: int = 0
    wordless: int = 0


def wordless(text: str) -> bool:
    """Whether a text has no letter outside square brackets: emoji, signs and numbers alone are no words to the model,
    which knows none, and `[laughter]` or `[deleted]` are not said by anybody."""
    return _LETTER.search(_NOTE.sub("", text)) is None


def latin(text: str) -> bool:
    """Whether at least half of the letters are Latin (texts without letters, such as emoji, count as Latin)."""
    letters = _LETTER.findall(text)
    return len(_LATIN.findall(text)) >= len(letters) / 2


def looks_english(turns: Sequence[Turn], least: int = 60) -> bool:
    """Whether the share of very common English words is what English has (far above 3 %). Fewer than `least` words
    count as English unless several function words of another language are among them."""
    words = [w for turn in turns[:2000] for w in _LETTERS.findall(turn.text.lower()) if latin(w)]
    english = sum(w in _COMMON for w in words)
    if len(words) >= least:
        return english / len(words) > 0.08
    foreign = sum(w in _ELSEWHERE for w in words)
    return foreign < _FEW or foreign <= 2 * english


def score(model: WordsModel, turns: Sequence[Turn]) -> Iterator[Prediction]:
    """One prediction per turn; a turn longer than `LONGEST` is the mean of its sentences, weighted by length."""
    for start in range(0, len(turns), BATCH):
        some = turns[start : start + BATCH]
        pieces = [[t.text] if len(t.text) <= LONGEST else split_sentences(t.text) or [t.text[:LONGEST]] for t in some]
        found = iter(model.predict([piece for parts in pieces for piece in parts]))
        for parts in pieces:
            yield _mean([next(found) for _ in parts], [len(part) for part in parts])


def _mean(predictions: list[Prediction], lengths: list[int]) -> Prediction:
    if len(predictions) == 1:
        return predictions[0]
    weights = np.asarray(lengths, np.float64) / sum(lengths)
    scores = weights @ np.stack([p.scores for p in predictions])
    names = predictions[0].dimensions
    dimensions = {name: float(weights @ [p.dimensions[name] for p in predictions]) for name in names}
    first = predictions[0]
    return Prediction(first.space, first.labels, scores, first.perspective, dimensions=dimensions)


def perceive(model: WordsModel | None, turns: Sequence[WordsTurn], sink: RowSink, timed: bool) -> Unread:
    """Write the transcript and, with a model, scores of all turns; returns how many could not be scored."""
    if model is None:
        readable, unread = [], Unread()
    else:
        empty = sum(wordless(t.turn.text) for t in turns)
        readable = [t for t in turns if latin(t.turn.text) and not wordless(t.turn.text)]
        unread = Unread(len(turns) - len(readable) - empty, empty)
    predictions = score(model, [t.turn for t in readable]) if model is not None else iter(())
    wanted = {id(t) for t in readable}
    for item in turns:
        shared = place(item, timed)
        item.row = sink.add(
            space="transcript", method="transcript", label=item.conversation, text=item.turn.text, **shared
        )
        if model is None or id(item) not in wanted:
            continue
        item.prediction = next(predictions)
        item.posterior = to_common(item.prediction.space, item.prediction.scores)
        shared["perspective"] = item.prediction.perspective
        shared["method"] = model.card.name
        first = sink.add_scores(item.prediction.labels, item.prediction.scores, space=item.prediction.space, **shared)
        item.top_row = first + int(np.argmax(item.prediction.scores))
        names = tuple(item.prediction.dimensions)
        sink.add_scores(names, [item.prediction.dimensions[n] for n in names], space="va", **shared)
    return unread


def place(item: WordsTurn, timed: bool) -> dict[str, Any]:
    """The columns that say where a turn is and who says it; without a time axis `frame` is its number."""
    turn = item.turn
    shared = {"start": turn.start, "end": turn.end, "speaker": turn.speaker, "track": item.track, "source": "words"}
    return shared if timed else shared | {"frame": item.number}


def telling_words(model: WordsModel, item: WordsTurn, sink: RowSink, timed: bool, most: int = 2) -> None:
    """Find the words without which the leading emotion of a turn becomes least likely and write them as evidence.

    Leave-one-out occlusion: every word is left out in turn; its strength is the probability lost. Words that cost less
    than .05 or a tenth of the probability are not named.
    """
    if item.prediction is None:
        return
    text = item.turn.text[:LONGEST]
    spans = [m.span() for m in _WORD.finditer(text)][:MOST_WORDS]
    scores = np.where(np.asarray(item.prediction.labels) == "neutral", -1.0, item.prediction.scores)
    label = int(np.argmax(scores))
    if len(spans) < 2:
        return
    variants = [f"{text[:a]} {text[b:]}".strip() for a, b in spans]
    rest = np.stack([p.scores[label] for p in model.predict([text, *variants])])
    drops = rest[0] - rest[1:]
    for i in np.argsort(-drops)[:most].tolist():
        if drops[i] < max(0.05, 0.1 * float(rest[0])):
            break
        word = text[slice(*spans[i])].strip("\"'“”‘’.,;:!?…()[]")
        shared = place(item, timed)
        row = sink.add(
            space="evidence", method="leave-one-out", label="word", score=float(drops[i]), text=word, **shared
        )
        item.telling.append((word, float(drops[i]), row))

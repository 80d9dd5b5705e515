"""Texts, tables of texts and conversations: words alone, turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from affectus import media
from affectus.analysis import conversation, explanation, perceive_words
from affectus.analysis.engines import Engines
from affectus.analysis.fusion import Opinion
from affectus.analysis.perceive_words import WordsTurn
from affectus.analysis.persons import write_window
from affectus.analysis.rows import RowSink
from affectus.analysis.settings import Settings
from affectus.errors import MediaError

if TYPE_CHECKING:
    from affectus.analysis.pipeline import Findings

#: Called with the stage and the share of it that is done, 0…1.
Progress = Callable[[str, float], None]


def analyze_text(
    path: Path, settings: Settings, engines: Engines, found: Findings, sink: RowSink, tell: Progress
) -> None:
    """Score a file of text: as a conversation where it has speakers, else every text for itself."""
    if "words" not in settings.modalities:
        raise MediaError(path, "holds text, but words are not among the modalities", "add words to --modalities")
    talks = media.read_conversations(path, found.warnings, settings.columns)
    if conversation.is_one(talks):
        conversation.analyze_talks(talks, settings, engines, found, sink, tell)
        return
    turns = [turn for talk in talks for turn in talk.turns]
    if len(talks) > 1:
        turns.sort(key=lambda turn: turn.row)  # texts stay in the order of their file
    timed = all(np.isfinite(t.start) and np.isfinite(t.end) for t in turns)
    if not timed:
        found.facts["axis"] = "turns"  # times without ends give no axis to draw on
    found.words = [WordsTurn(turn, i) for i, turn in enumerate(turns)]
    score_words(found, engines, sink, settings, timed)
    tell("words", 0.8)
    weight, prior = engines.weight("words"), engines.prior("words")
    for item in found.words:
        if item.posterior is None or item.prediction is None:
            continue
        opinion = Opinion("words", item.posterior, weight, affect=item.affect, prior=prior, rows=(item.top_row,))
        span = (item.turn.start, item.turn.end)
        frame = -1 if timed else item.number
        person = (-1, item.turn.speaker)
        window = write_window(sink, person, item.number, span, [opinion], settings.confidence, settings.conflict, frame)
        found.windows.append(window)
    explanation.explain(found, engines, sink, settings, timed)
    tell("words", 1.0)


def score_words(
    found: Findings, engines: Engines, sink: RowSink, settings: Settings, timed: bool, judge: bool = True
) -> None:
    """Write the transcript and the scores of `found.words`; say what was not scored and why.

    Without `judge` only a `language` that was named can keep the texts from being scored, not how they look.
    """
    model = engines.model("words")
    if model is not None and found.words:
        reason = foreign(found.words, settings, judge)
        if reason:
            found.missing["words"] = reason
            model = None
    unread = perceive_words.perceive(model, found.words, sink, timed)
    if unread.script:
        found.warnings.append(
            f"{unread.script} of {len(found.words)} turns are not in Latin script and were not scored"
        )
    if unread.wordless:
        found.warnings.append(
            f"{unread.wordless} of {len(found.words)} turns hold no word (emoji, signs, numbers or notes in brackets "
            "alone) and were not scored"
        )


def foreign(words: Sequence[WordsTurn], settings: Settings, judge: bool = True) -> str:
    """Why texts are not scored because of their language, or an empty string."""
    code = settings.language.lower().split("-")[0]
    if judge and code in ("auto", "") and not perceive_words.looks_english([w.turn for w in words]):
        return "the text does not look English, the only language of the words model (--language en scores it anyway)"
    if code not in ("auto", "", "en"):
        return f"the words model knows English only, not {settings.language!r}"
    return ""

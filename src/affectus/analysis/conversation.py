"""Conversations: turns read in their context, and how the perceived expression of every speaker runs and follows.

Every turn is scored alone; its posterior then comes from these scores and those of the turns before it, as learnt from
dialogues with labels (`models.dialogue.ContextReading`, card `context`). What follows for each speaker is written by
`speaker_states`, who follows whom by `influence`. Some turns get a weak hint that writer and reader may see them
differently; how often such hints are right is said with them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from affectus.analysis import explanation, perceive_words, texts
from affectus.analysis.engines import Engines
from affectus.analysis.fusion import Opinion
from affectus.analysis.influence import write_influence
from affectus.analysis.perceive_words import WordsTurn, looks_english
from affectus.analysis.persons import FusedWindow, write_window
from affectus.analysis.rows import RowSink
from affectus.analysis.settings import Settings
from affectus.analysis.speaker_states import write_states
from affectus.errors import AffectusError
from affectus.models.dialogue import ContextReading, GapHints
from affectus.types import Conversation

if TYPE_CHECKING:
    from affectus.analysis.pipeline import Findings

#: A table in which more people than this speak once each is a table of texts, no conversation.
STRANGERS = 8
#: Least share of the time axis that turns must cover to be drawn on it; a chat with pauses of days is drawn by turns.
COVERED = 0.25
#: Words of a speaker from which their language is judged, and the weight of turns that do not look English.
LEAST_WORDS, FOREIGN_WEIGHT = 40, 0.5
METHOD = "context"


def is_one(talks: Sequence[Conversation]) -> bool:
    """Whether the turns of a file are conversations: they have speakers, not each text an author of its own."""
    named = [turn.speaker for talk in talks for turn in talk.turns if turn.speaker]
    if not named:
        return False
    return (
        len(named) <= STRANGERS
        or any(len(set(names)) < len(names) for names in map(_names, talks))
        or (len(talks) > 1 and any(len(set(names)) > 1 for names in map(_names, talks)))
    )


def _names(talk: Conversation) -> list[str]:
    return [turn.speaker for turn in talk.turns if turn.speaker]


def on_time_axis(talks: Sequence[Conversation]) -> bool:
    """Whether turns can be drawn in time: one conversation, all times known and in order, few long pauses."""
    if len(talks) != 1:
        return False
    times = np.array([(turn.start, turn.end) for turn in talks[0].turns])
    if not np.isfinite(times).all() or (np.diff(times[:, 0]) < 0).any() or times[:, 1].max() <= 0:
        return False
    return float((times[:, 1] - times[:, 0]).sum()) >= COVERED * float(times[:, 1].max())


def analyze_talks(
    talks: Sequence[Conversation],
    settings: Settings,
    engines: Engines,
    found: Findings,
    sink: RowSink,
    tell: Callable[[str, float], None],
) -> None:
    """Score the conversations of one file and write all their rows."""
    timed = on_time_axis(talks)
    several = len(talks) > 1
    turns = [(talk.id if several else "", turn) for talk in talks for turn in talk.turns]
    found.words = [WordsTurn(turn, i, conversation=name) for i, (name, turn) in enumerate(turns)]
    said = Counter(turn.speaker for _, turn in turns)
    unnamed = said.get("", 0)
    found.facts |= {"axis": "time" if timed else "turns", "conversations": len(talks), "turns_of": dict(said)}
    found.facts["speakers"] = len(said) - (unnamed > 0)
    if unnamed:
        found.warnings.append(f"{unnamed} of {len(turns)} turns have no speaker and stand in a lane of their own")
    texts.score_words(found, engines, sink, settings, timed, judge=False)  # judged by speaker below
    tell("words", 0.4)
    groups: dict[str, list[WordsTurn]] = defaultdict(list)
    for item in found.words:
        groups[item.conversation].append(item)
    scored = [[item for item in group if item.posterior is not None] for group in groups.values()]
    reading = _reading(settings, found)
    if reading is not None and "words" not in found.missing:
        _read_in_context(scored, reading)
    tell("words", 0.7)
    strangers = _not_english(found, settings)
    windows = _write_turns(scored, strangers, settings, engines, found, sink, timed)
    write_states(scored, windows, sink, settings.confidence, reading)
    write_influence(scored, windows, sink)
    if settings.gap_hints:
        _write_hints(scored, strangers, sink, found, timed)
    explanation.explain(found, engines, sink, settings, timed)
    tell("words", 1.0)


def _reading(settings: Settings, found: Findings) -> ContextReading | None:
    """How turns are read in context; None with a warning where its card is missing."""
    if not settings.context:
        return None
    try:
        reading = ContextReading.load()
    except AffectusError as error:
        found.warnings.append(f"turns were read without their context: {error}")
        return None
    found.cards.append(reading.card)
    found.facts["shifts_right"] = reading.how_often
    return reading


def _read_in_context(groups: Sequence[Sequence[WordsTurn]], reading: ContextReading) -> None:
    """Replace the posterior of every scored turn by the one in its conversation."""
    for group in groups:
        if not group:
            continue
        outputs = _outputs(group)
        in_context = reading.posterior(outputs, [item.turn.speaker for item in group])
        for item, posterior, alone in zip(group, in_context, reading.alone(outputs), strict=True):
            item.posterior, item.alone = posterior, alone


def _outputs(items: Sequence[WordsTurn]) -> np.ndarray:
    """What the words model said about scored turns, (n, 31)."""
    return np.stack([[*p.scores, *p.dimensions.values()] for item in items if (p := item.prediction) is not None])


def _write_turns(
    groups: Sequence[Sequence[WordsTurn]],
    strangers: Collection[str],
    settings: Settings,
    engines: Engines,
    found: Findings,
    sink: RowSink,
    timed: bool,
) -> dict[int, FusedWindow]:
    """Write scores, affect and decision of every scored turn; the windows by number of the turn."""
    weight, prior = engines.weight("words"), engines.prior("words")
    windows: dict[int, FusedWindow] = {}
    for item in (item for group in groups for item in group):
        if item.posterior is None:
            continue
        other = item.turn.speaker in strangers
        opinion = Opinion(
            "words",
            item.posterior,
            weight * (FOREIGN_WEIGHT if other else 1.0),
            affect=item.affect,
            prior=None if other else prior,
            rows=(item.top_row,),
        )
        span, frame = (item.turn.start, item.turn.end), -1 if timed else item.number
        person = (-1, item.turn.speaker)
        windows[item.number] = write_window(
            sink, person, item.number, span, [opinion], settings.confidence, settings.conflict, frame, METHOD
        )
    found.windows = list(windows.values())
    return windows


def _not_english(found: Findings, settings: Settings) -> set[str]:
    """Speakers whose scored turns do not look English, told in a warning: those who say enough to be judged, and
    everybody where the talk as a whole does not. Nobody where the language was named."""
    if settings.language.lower() not in ("auto", ""):
        return set()
    turns = defaultdict(list)
    for item in found.words:
        if item.posterior is not None:
            turns[item.turn.speaker].append(item.turn)
    if not looks_english([turn for said in turns.values() for turn in said]):
        found.warnings.append(
            "the turns do not look English, the only language of the words model: their scores count half and are less "
            "sure (--language en takes them in full)"
        )
        return set(turns)
    strangers = {name for name, said in turns.items() if not looks_english(said, LEAST_WORDS)}
    if strangers:
        listed = ", ".join(sorted(name or "without a name" for name in strangers)[:5])
        found.warnings.append(f"turns of {listed} do not look English; their scores count half and are less sure")
    return strangers


def _write_hints(
    groups: Sequence[Sequence[WordsTurn]], strangers: Collection[str], sink: RowSink, found: Findings, timed: bool
) -> None:
    """Mark turns that a writer's and a reader's side may rate differently, and keep how often such hints are right."""
    items = [item for group in groups for item in group if item.prediction is not None]
    items = [item for item in items if item.turn.speaker not in strangers]
    if not items:
        return
    try:
        hints = GapHints.load()
    except AffectusError as error:
        found.warnings.append(f"hints at gaps between writer and reader are not available: {error}")
        return
    found.cards.append(hints.card)
    marked = 0
    for item, score in zip(items, hints.score(_outputs(items)).tolist(), strict=True):
        if score < hints.threshold:
            continue
        marked += 1
        sink.add(
            space="gap",
            method="gap",
            perspective="evoked",
            label="writer and reader may differ",
            score=score,
            text=f"{hints.meaning} (weak hint, {hints.odds})",
            refs=[item.top_row],
            **perceive_words.place(item, timed),
        )
    found.facts["gap_hints"] = {
        "marked": marked,
        "of": len(items),
        "meaning": hints.meaning,
        "odds": hints.odds,
        "how_often": hints.how_often,
    }

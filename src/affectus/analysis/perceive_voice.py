"""Speech in a stream of sound: turns, the voice model on windows within turns, prosody, and the words where asked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from affectus.analysis.fusion import to_common
from affectus.errors import AffectusError
from affectus.media import transcription
from affectus.types import Prediction, Turn, Window

if TYPE_CHECKING:
    from affectus.features.voice_prosody import Prosody
    from affectus.media.speech import SpeechDetector
    from affectus.models.voice import VoiceModel

log = logging.getLogger("affectus.analysis")

RATE = 16000
#: Turns shorter than this (s) are not scored: too little voice to tell anything.
SHORTEST = 0.4


@dataclass(frozen=True)
class VoiceScore:
    """The voice model on one window: its prediction and the posterior (7,) over `ekman7`."""

    window: Window
    prediction: Prediction
    posterior: np.ndarray


@dataclass
class SpokenTurn:
    """One stretch of speech of one person as far as is known: who (name or "", face track or -1), how, and scores."""

    window: Window
    speaker: str = ""
    track: int = -1
    prosody: Prosody | None = None
    scores: list[VoiceScore] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    changes: list[tuple[str, float, int]] = field(default_factory=list)


def cut_windows(turn: Window, length: float, hop: float) -> list[Window]:
    """Windows of about `length` seconds within a turn, evenly spread with steps of at most `hop`; a turn of up to one
    and a half lengths is one window."""
    if turn.length <= 1.5 * length:
        return [turn]
    steps = int(np.ceil((turn.length - length) / hop))
    starts = turn.start + np.linspace(0.0, turn.length - length, steps + 1)
    return [Window(float(s), float(s) + length) for s in starts]


def split_by_speaker(turn: Window, cues: Sequence[Turn]) -> list[tuple[Window, str]]:
    """Pieces of a detected turn by who speaks according to a transcript with times, as (window, speaker).

    A piece ends where the next cue of another speaker begins. Without named cues in the turn it stays whole.
    """
    inside = sorted((c for c in cues if c.speaker and c.end > turn.start and c.start < turn.end), key=lambda c: c.start)
    pieces: list[tuple[Window, str]] = []
    begin = turn.start
    for before, after in pairwise(inside):
        if before.speaker != after.speaker and after.start - begin >= 0.1:
            pieces.append((Window(begin, after.start), before.speaker))
            begin = after.start
    pieces.append((Window(begin, turn.end), inside[-1].speaker if inside else ""))
    return pieces


class VoicePass:
    """Takes blocks of sound in order; memory is bounded by one block and the longest turn.

    `cues` is a transcript with times (may be empty) that tells who speaks; with `language` the words are recognised.
    After `finish`, `turns` and `sentences` hold the results, and `words_missing` says why there are no words.
    """

    def __init__(
        self,
        detector: SpeechDetector,
        model: VoiceModel | None,
        length: float,
        hop: float,
        cues: Sequence[Turn] = (),
        language: str | None = None,
    ) -> None:
        self.detector, self.model, self.length, self.hop = detector, model, length, hop
        self.cues, self.language = cues, language
        self.turns: list[SpokenTurn] = []
        self.sentences: list[Turn] = []
        self.words_missing = ""
        self._audio = np.zeros(0, np.float32)
        self._offset = 0.0

    def push(self, block: np.ndarray) -> None:
        """Take the next block of float32 mono at 16 kHz."""
        self._audio = np.concatenate([self._audio, block])
        self._take(self.detector.push(block))
        # A turn still open began at most `max_turn` ago; what lies before that is no longer needed.
        keep = int((self.detector.max_frames * 512 / RATE + 2.0) * RATE)
        if len(self._audio) > keep:
            gone = len(self._audio) - keep
            self._audio = self._audio[gone:]
            self._offset += gone / RATE

    def finish(self) -> None:
        """Take the turns that end with the recording."""
        self._take(self.detector.finish())

    def _take(self, windows: Sequence[Window]) -> None:
        for window in windows:
            for piece, speaker in split_by_speaker(window, self.cues):
                self.turns.append(self._measure(piece, speaker))
        if windows and self.language is not None and not self.words_missing:
            self._transcribe(windows)

    def _samples(self, window: Window) -> np.ndarray:
        return self._audio[
            max(0, round((window.start - self._offset) * RATE)) : round((window.end - self._offset) * RATE)
        ]

    def _measure(self, window: Window, speaker: str) -> SpokenTurn:
        from affectus.features.voice_prosody import prosody

        turn = SpokenTurn(window, speaker)
        samples = self._samples(window)
        if len(samples) < SHORTEST * RATE:
            return turn
        turn.prosody = prosody(samples, RATE)
        if self.model is not None:
            parts = cut_windows(window, self.length, self.hop)
            predictions = self.model.predict([self._samples(part) for part in parts])
            common = to_common(self.model.card.space, np.stack([p.scores for p in predictions]))
            turn.scores = [VoiceScore(*item) for item in zip(parts, predictions, common, strict=True)]
        return turn

    def _transcribe(self, windows: Sequence[Window]) -> None:
        start = windows[0].start
        samples = self._samples(Window(start, windows[-1].end))
        offset = max(start, self._offset)
        try:
            found = transcription.transcribe(samples, windows, self.language or "auto", offset=offset)
        except AffectusError as error:
            self.words_missing = str(error)
            return
        self.sentences += [replace(turn, speaker=self._speaker_at(turn)) for turn in found]

    def _speaker_at(self, sentence: Turn) -> str:
        span = Window(sentence.start, sentence.end)
        return next((t.speaker for t in reversed(self.turns) if t.speaker and t.window.overlap(span) > 0), "")

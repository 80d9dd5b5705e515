"""Per person and window: gather what the modalities say, fuse it, write the result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from affectus.analysis import fusion
from affectus.analysis.engines import Engines
from affectus.analysis.fusion import LABELS, Fused, Opinion
from affectus.analysis.perceive_faces import FaceEvidence
from affectus.analysis.perceive_voice import SpokenTurn
from affectus.analysis.perceive_words import WordsTurn
from affectus.analysis.rows import RowSink
from affectus.analysis.tally import Tally

#: A person: face track or -1, and name or "".
Person = tuple[int, str]
METHOD = "log-linear"


@dataclass(frozen=True)
class FusedWindow:
    """One fused window with what went in and the row of its leading label; `number` counts windows (or texts), `frame`
    is that of its rows, -1 on an axis of time."""

    person: Person
    number: int
    start: float
    end: float
    fused: Fused
    opinions: tuple[Opinion, ...]
    decision: str
    score: float
    row: int
    conflict: tuple[str, str, float] | None = None
    conflict_row: int = -1
    frame: int = -1

    @property
    def label(self) -> str:
        """Label with the highest fused probability, named or not."""
        return LABELS[int(np.argmax(self.fused.probabilities))]


class Gatherer:
    """Collects opinions of one recording by person and window."""

    def __init__(self, engines: Engines, window: float, rate: float) -> None:
        self.engines, self.window = engines, window
        self.samples = max(1.0, window * rate)
        self._spans: dict[tuple[Person, int], dict[str, tuple[Tally, list[int]]]] = defaultdict(dict)
        self._faces: FaceEvidence | None = None
        self._corrections: Mapping[int, np.ndarray] = {}
        self._names: Mapping[int, str] = {}

    def faces(self, evidence: FaceEvidence, names: Mapping[int, str], corrections: Mapping[int, np.ndarray]) -> None:
        """Take the result of a face pass, the names of tracks, and baseline factors by track."""
        self._faces, self._names, self._corrections = evidence, names, corrections

    def voices(self, turns: Sequence[SpokenTurn]) -> None:
        """Take the voice scores of all turns."""
        for turn in turns:
            for index, score in enumerate(turn.scores):
                dimensions = score.prediction.dimensions
                affect = (dimensions.get("valence", np.nan), dimensions.get("arousal", np.nan))
                row = turn.rows[index] if index < len(turn.rows) else -1
                person = self.person(turn.track, turn.speaker)
                self._spread("voice", person, score.window.start, score.window.end, score.posterior, affect, row)

    def words(self, turns: Sequence[WordsTurn]) -> None:
        """Take the scores of all turns with times."""
        for item in turns:
            if item.posterior is None or item.prediction is None or not np.isfinite(item.turn.start):
                continue
            dimensions = item.prediction.dimensions
            affect = (dimensions.get("valence", np.nan), dimensions.get("arousal", np.nan))
            person = self.person(item.track, item.turn.speaker)
            self._spread("words", person, item.turn.start, item.turn.end, item.posterior, affect, item.top_row)

    def person(self, track: int, speaker: str) -> Person:
        """The person of a turn: its face and that face's name, else its speaker."""
        return (track, self._names.get(track, "")) if track >= 0 else (-1, speaker)

    def _spread(
        self,
        source: str,
        person: Person,
        start: float,
        end: float,
        posterior: np.ndarray,
        affect: tuple[float, float],
        row: int,
    ) -> None:
        """Add one score to every window it overlaps, weighted by the overlap."""
        for number in range(int(start / self.window), int(end / self.window) + 1):
            overlap = min(end, (number + 1) * self.window) - max(start, number * self.window)
            if overlap <= 1e-6:
                continue
            tally, rows = self._spans[person, number].setdefault(source, (Tally(), []))
            tally.add(posterior, affect, weight=overlap, coverage=overlap)
            if row >= 0 and row not in rows:
                rows.append(row)

    def windows(self) -> Iterator[tuple[Person, int, list[Opinion]]]:
        """All (person, window number, opinions), ordered by person and time."""
        keys = set(self._spans)
        for track, number in self._faces.windows if self._faces else ():
            keys.add(((track, self._names.get(track, "")), number))
        for person, number in sorted(keys, key=lambda k: (k[0][0] < 0, k[0], k[1])):
            opinions = [
                self._opinion(source, tally, min(1.0, tally.coverage / self.window), tuple(rows[:3]))
                for source, (tally, rows) in self._spans.get((person, number), {}).items()
            ]
            if self._faces and (entry := self._faces.windows.get((person[0], number))):
                rows = (entry.peak.row,) if entry.peak else ()
                opinion = self._opinion("face", entry.tally, min(1.0, entry.tally.count / self.samples), rows)
                factors = self._corrections.get(person[0])
                if factors is not None:
                    corrected = fusion.normalised(opinion.probabilities * factors)
                    opinion = Opinion(**{**opinion.__dict__, "probabilities": corrected})
                opinions.append(opinion)
            yield person, number, opinions

    def _opinion(self, source: str, tally: Tally, coverage: float, rows: tuple[int, ...]) -> Opinion:
        return Opinion(
            source,
            tally.probabilities,
            self.engines.weight(source) * tally.quality * coverage,
            tally.spread,
            tally.affect,
            tally.affect_spread,
            self.engines.prior(source),
            rows,
        )


def write_window(
    sink: RowSink,
    person: Person,
    number: int,
    span: tuple[float, float],
    opinions: Sequence[Opinion],
    confidence: float,
    threshold: float,
    frame: int = -1,
    method: str = METHOD,
) -> FusedWindow:
    """Fuse the opinions of one window and write scores, valence–arousal, the decision and a conflict."""
    result = fusion.fuse(opinions)
    shared = {"start": span[0], "end": span[1], "frame": frame, "track": person[0], "speaker": person[1]}
    shared |= {"source": "fusion", "method": method, "perspective": "expressed"}
    refs = [row for opinion in opinions for row in opinion.rows]
    first = sink.add_scores(
        LABELS, result.probabilities, result.low, result.high, space=fusion.SPACE, refs=refs, **shared
    )
    for k, name in enumerate(("valence", "arousal")):
        if np.isfinite(result.affect[k]):
            bounds = {"low": float(result.affect_low[k]), "high": float(result.affect_high[k])}
            sink.add(space="va", label=name, score=float(result.affect[k]), **bounds, **shared)
    split = fusion.conflict(opinions, threshold)
    decision, score = fusion.decide(result.probabilities, confidence)
    if split is not None and not fusion.led(opinions, result.probabilities):
        decision = fusion.UNCERTAIN
    top = first + int(np.argmax(result.probabilities))
    sink.add(space="decision", label=decision, score=score, refs=[top], **shared)
    split_row = -1
    if split is not None:
        named = shared | {"method": "jensen-shannon"}
        rows = [row for o in opinions if o.source in split[:2] for row in o.rows]
        split_row = sink.add(space="conflict", label=f"{split[0]}|{split[1]}", score=split[2], refs=rows, **named)
    return FusedWindow(person, number, *span, result, tuple(opinions), decision, score, top, split, split_row, frame)

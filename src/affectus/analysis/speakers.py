"""Who speaks, without recognising anybody: turns are joined with faces by what is in view, never by who it is.

Assumption, stated in every report: in a stretch of speech during which one face alone is in view, that face speaks.
With several faces a turn is joined only where one mouth clearly moves more than the others; otherwise the turn keeps
the name of the transcript, or none. A name whose turns mostly go with one face is not joined with another one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from affectus.analysis.perceive_faces import FaceEvidence
from affectus.analysis.perceive_voice import SpokenTurn

#: Share of a turn in which the face of its speaker must be in view, and in which another face may be.
IN_VIEW, ANOTHER = 0.5, 0.25
#: Mouth motion relative to the upper face that counts as speaking, and its lead over the next face.
MOVING, LEAD = 0.15, 2.0


class Visibility:
    """When which face was in view, from the windows of a face pass."""

    def __init__(self, evidence: FaceEvidence | None, window: float, rate: float) -> None:
        self.window = window
        self.samples = max(1.0, window * rate)
        self._by_number: dict[int, dict[int, tuple[float, float]]] = defaultdict(dict)
        for (track, number), entry in (evidence.windows if evidence else {}).items():
            share = min(1.0, entry.tally.count / self.samples)
            self._by_number[number][track] = (share, entry.motion / max(1, entry.tally.count))

    def during(self, start: float, end: float) -> dict[int, tuple[float, float]]:
        """Track → (share of the span in view, mean mouth motion)."""
        seen: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
        length = max(end - start, 1e-6)
        for number in range(int(start / self.window), int(end / self.window) + 1):
            overlap = min(end, (number + 1) * self.window) - max(start, number * self.window)
            if overlap <= 0 or number not in self._by_number:
                continue
            for track, (share, motion) in self._by_number[number].items():
                seen[track].append((share * overlap, motion, overlap))
        return {
            track: (sum(s for s, _, _ in parts) / length, sum(m * o for _, m, o in parts) / sum(o for *_, o in parts))
            for track, parts in seen.items()
        }


def join(turns: Sequence[SpokenTurn], view: Visibility) -> dict[int, str]:
    """Set `track` of the turns that go with a face; returns the speaker names of tracks, as far as known."""
    for turn in turns:
        turn.track = speaking(view.during(turn.window.start, turn.window.end))
    times: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for turn in turns:
        if turn.speaker and turn.track >= 0:
            times[turn.speaker][turn.track] += turn.window.length
    homes: dict[str, set[int]] = {}
    owners: dict[int, tuple[float, str]] = {}
    for name, tracks in times.items():
        for track, seconds in tracks.items():
            if seconds > owners.get(track, (0.0, ""))[0]:
                owners[track] = (seconds, name)
    for name in times:
        homes[name] = {track for track, (_, owner) in owners.items() if owner == name}
    for turn in turns:
        if turn.speaker and turn.track >= 0 and turn.track not in homes[turn.speaker]:
            turn.track = -1
    return {track: name for track, (_, name) in owners.items()}


def speaking(view: dict[int, tuple[float, float]]) -> int:
    """The track that speaks among those in view, or -1."""
    present = {track: motion for track, (share, motion) in view.items() if share >= IN_VIEW}
    others = [track for track, (share, _) in view.items() if share >= ANOTHER]
    if len(present) == 1 and len(others) == 1:
        return next(iter(present))
    if len(present) < 2:
        return -1
    ranked = sorted(present.items(), key=lambda item: -item[1])
    (first, most), (_, second) = ranked[0], ranked[1]
    return first if most >= MOVING and most >= LEAD * max(second, 0.02) else -1

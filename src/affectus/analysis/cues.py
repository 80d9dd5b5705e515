"""Evidence in words: what the face, the voice, the words and the scene of a window show, each with its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from affectus.analysis import face_cues
from affectus.analysis.facts import listed
from affectus.analysis.fusion import LABELS, Opinion
from affectus.analysis.perceive_faces import FaceEvidence, Peak
from affectus.analysis.perceive_scene import KeyFrame
from affectus.analysis.perceive_voice import SpokenTurn
from affectus.analysis.perceive_words import WordsTurn
from affectus.analysis.rows import RowSink

if TYPE_CHECKING:
    from affectus.models.face import FaceModel

#: Least probability that covering a region must cost for it to be named.
DROP_FROM = 0.10
#: Least strength of a facial movement that is named, and most of them per sentence.
CUE_STRENGTH, MOST_CUES = 0.25, 3
#: Where somebody looks says nothing about the expression.
GAZE = frozenset({"AU61", "AU62", "AU63", "AU64"})
#: Turns of a speaker from which a median can be taken.
LEAST_TURNS = 5
#: A change of more usual spreads than this is a fault of measuring, such as a pitch taken an octave off.
IMPLAUSIBLE = 12.0
#: Sentences about scenes, at most.
MOST_SCENES = 2


@dataclass(frozen=True)
class Clause:
    """One statement and the rows it rests on."""

    text: str
    rows: tuple[int, ...]


def face_clause(
    peak: Peak, person: tuple[int, str], sink: RowSink, usual: np.ndarray | None, model: FaceModel | None
) -> Clause:
    """What carries the reading of a face on the clearest frame of a window; writes its evidence rows."""
    shared = {"start": peak.time, "end": peak.time, "frame": peak.frame, "track": person[0], "speaker": person[1]}
    shared |= {"source": "face", "perspective": "expressed", "space": "evidence"}
    rows = [peak.row]
    parts = []
    if peak.blendshapes is not None:
        from affectus.features.face_geometry import facial_cues

        moved = facial_cues(peak.blendshapes, usual)
        visible = [c for c in moved if c.strength >= CUE_STRENGTH and c.unit not in GAZE][:MOST_CUES]
        for cue in visible:
            text = f"{cue.name} ({cue.unit})"
            rows.append(sink.add(method="blendshapes", label=cue.name, score=cue.strength, text=text, **shared))
        if visible:
            parts.append(listed([f"{c.name} ({c.unit})" for c in visible]))
    if peak.crop is not None and model is not None:
        region, drop = max(face_cues.drops(model, peak.crop, peak.label).items(), key=lambda item: item[1])
        if drop >= DROP_FROM:
            left = peak.probability - drop
            text = f"covering the {region} lowers {peak.label} from {peak.probability:.0%} to {left:.0%}"
            rows.append(sink.add(method="occlusion", label=region, score=drop, text=text, **shared))
            parts.append(text)
    said = f"The face shows {peak.label} ({peak.probability:.0%})"
    return Clause(f"{said}: {'; '.join(parts)}." if parts else f"{said}.", tuple(rows))


def voice_clause(opinion: Opinion, turn: SpokenTurn | None) -> Clause:
    """How the voice sounds in a window and what is unusual about the turn."""
    best = int(np.argmax(opinion.probabilities))
    said = f"The voice sounds closest to {LABELS[best]} ({opinion.probabilities[best]:.0%})"
    changes = turn.changes if turn is not None else []
    rows = (*opinion.rows, *(row for _, _, row in changes))
    return Clause(f"{said}: {'; '.join(words for words, _, _ in changes)}." if changes else f"{said}.", rows)


def words_clause(opinion: Opinion, words: Sequence[WordsTurn]) -> Clause:
    """Which words of a window carry the emotion of its sentences."""
    rows = list(opinion.rows)
    parts = []
    for item in words:
        if item.prediction is None or not item.telling:
            continue
        scores = np.where(np.asarray(item.prediction.labels) == "neutral", -1.0, item.prediction.scores)
        best = int(np.argmax(scores))
        quoted = listed([f"“{word}”" for word, _, _ in item.telling])
        parts.append(f"{item.prediction.labels[best]} ({item.prediction.scores[best]:.0%}) through {quoted}")
        rows += [row for _, _, row in item.telling]
    if parts:
        return Clause(f"The words express {'; '.join(parts)}.", tuple(rows))
    best = int(np.argmax(opinion.probabilities))
    return Clause(f"The words are closest to {LABELS[best]} ({opinion.probabilities[best]:.0%}).", tuple(rows))


def prosodic_changes(turns: Sequence[SpokenTurn], sink: RowSink, least: float, most: int) -> None:
    """Compare each turn with the median of its speaker and write what departs from it as evidence.

    A speaker is the name of the transcript, else the face, else the whole recording; fewer than `LEAST_TURNS` turns
    give no median.
    """
    from affectus.features.voice_prosody import compare, speaker_norm

    speakers: dict[tuple[str, int], list[SpokenTurn]] = defaultdict(list)
    for turn in turns:
        if turn.prosody is not None and turn.prosody.seconds >= 0.5:
            speakers[turn.speaker, turn.track if not turn.speaker else -1].append(turn)
    for own in speakers.values():
        if len(own) < LEAST_TURNS:
            continue
        median, spread = speaker_norm([t.prosody for t in own if t.prosody is not None])
        for turn in own:
            if turn.prosody is None:
                continue
            changes = [c for c in compare(turn.prosody, median, spread, least) if abs(c.z) <= IMPLAUSIBLE]
            for change in changes[:most]:
                row = sink.add(
                    start=turn.window.start,
                    end=turn.window.end,
                    track=turn.track,
                    speaker=turn.speaker,
                    source="voice",
                    method="prosody",
                    perspective="expressed",
                    space="evidence",
                    label=change.name,
                    score=change.z,
                    text=change.words,
                )
                turn.changes.append((change.words, change.z, row))


def scenes(key_frames: Sequence[KeyFrame], sink: RowSink) -> None:
    """A sentence about the key frames that evoke most and least pleasure, where they differ."""
    if not key_frames:
        return
    ranked = sorted(key_frames, key=lambda k: k.valence)
    chosen = (
        [ranked[-1]] if len(ranked) == 1 or ranked[-1].valence - ranked[0].valence < 0.1 else [ranked[-1], ranked[0]]
    )
    for frame in chosen[:MOST_SCENES]:
        because = f", with {listed(list(frame.cues))}" if frame.cues else ""
        affect = f"valence {frame.valence:+.2f} and arousal {frame.arousal:+.2f}"
        text = f"The picture would evoke {affect} in a viewer{because}."
        sink.add(
            start=frame.start,
            end=frame.end,
            source="scene",
            method="evidence",
            perspective="evoked",
            space="explanation",
            text=text,
            refs=list(frame.rows),
        )


def usual_blendshapes(evidence: FaceEvidence, track: int) -> np.ndarray | None:
    """Median blendshapes (52,) of a face over the frames that were looked at; None for fewer than five."""
    rows = [
        entry.peak.blendshapes
        for (who, _), entry in evidence.windows.items()
        if who == track and entry.peak and entry.peak.blendshapes is not None
    ]
    return np.median(np.stack(rows), axis=0) if len(rows) >= 5 else None

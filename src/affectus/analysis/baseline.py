"""Correct a face by its own usual look, without explaining a lasting expression away.

Some faces at rest look a little sad or cross to any model. With the baseline on, each window of a track is corrected by
the track's median posterior m over the recording, half way (BLEND) towards a face at rest r:

    p'(y) ∝ p(y) · (r(y) / m(y)) ^ BLEND

The correction is refused where the median itself leads to an emotion: somebody who smiles from start to end would turn
neutral. Such a track is left as it is and the timeline says so. It is off by default.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from affectus.analysis.fusion import FLOOR, LABELS, NEUTRAL, normalised
from affectus.analysis.perceive_faces import FaceEvidence
from affectus.analysis.rows import RowSink

BLEND = 0.5
#: Windows a track needs before a median means anything.
LEAST_WINDOWS = 10
#: Probability of neutral in a face at rest; the other labels share what is left.
AT_REST = 0.9


def correction(median: np.ndarray) -> np.ndarray | None:
    """Factors (7,) for posteriors of a track with this median posterior (7,); None where it is not neutral."""
    median = normalised(np.maximum(median, FLOOR))
    if int(np.argmax(median)) != NEUTRAL:
        return None
    rest = np.full(len(LABELS), (1 - AT_REST) / (len(LABELS) - 1))
    rest[NEUTRAL] = AT_REST
    return (rest / median) ** BLEND


def corrections(evidence: FaceEvidence, sink: RowSink, warnings: list[str]) -> dict[int, np.ndarray]:
    """Factors by track, with an evidence row for each track and a warning for each one refused."""
    rows: dict[int, list[np.ndarray]] = defaultdict(list)
    for (track, _), entry in evidence.windows.items():
        rows[track].append(entry.tally.probabilities)
    found: dict[int, np.ndarray] = {}
    for track in sorted(rows):
        if len(rows[track]) < LEAST_WINDOWS:
            continue
        median = normalised(np.median(rows[track], axis=0))
        usual = LABELS[int(np.argmax(median))]
        factors = correction(median)
        if factors is None:
            text = f"face {track} shows {usual} most of the time, so its baseline was not taken off"
            warnings.append(text)
        else:
            found[track] = factors
            text = f"face {track} is corrected by its own median expression"
        shared = {"track": track, "source": "face", "method": "baseline", "perspective": "expressed"}
        sink.add(space="evidence", label=f"usual: {usual}", score=float(median.max()), text=text, **shared)
    return found

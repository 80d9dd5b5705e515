"""What every speaker's turns show one after the other: a running state, and shifts of perceived expression.

**State** s of a speaker after a turn with posterior p: s ← d · s + (1 - d) · p with d = 2^(-1/`HALF_LIFE`), so that the
weight of a turn halves every `HALF_LIFE` turns of that speaker. It starts with the first turn.

**Shift** between two successive turns of a speaker in one conversation: another label leads, both leading labels reach
the confidence from which labels are named, and the Jensen-Shannon divergence of the posteriors reaches the bound of the
card `context`, which says how often shifts marked so are shifts in labelled dialogues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from affectus.analysis.fusion import LABELS
from affectus.analysis.perceive_words import WordsTurn
from affectus.analysis.persons import FusedWindow
from affectus.analysis.rows import RowSink
from affectus.models.common_space import divergence
from affectus.models.dialogue import ContextReading

#: Turns of a speaker after which an earlier one counts half.
HALF_LIFE = 2.0
DECAY = 2.0 ** (-1.0 / HALF_LIFE)
#: Bound of a shift (bits) where no card gives one.
SHIFT = 0.3


def write_states(
    groups: Sequence[Sequence[WordsTurn]],
    windows: Mapping[int, FusedWindow],
    sink: RowSink,
    confidence: float,
    reading: ContextReading | None,
) -> None:
    """Write `state` and `shift` rows of all conversations."""
    bound = SHIFT if reading is None else reading.shift
    for group in groups:
        states: dict[str, np.ndarray] = {}
        last: dict[str, FusedWindow] = {}
        for item in group:
            window, name = windows[item.number], item.turn.speaker
            p = window.fused.probabilities
            states[name] = p if name not in states else DECAY * states[name] + (1 - DECAY) * p
            shared: dict[str, Any] = {"start": window.start, "end": window.end, "speaker": name, "source": "fusion"}
            shared |= {"frame": window.frame, "perspective": "expressed", "refs": [window.row]}
            sink.add_scores(LABELS, states[name], space="state", method="running", **shared)
            if name in last:
                _write_shift(last[name], window, bound, confidence, sink, shared)
            last[name] = window


def _write_shift(
    before: FusedWindow, now: FusedWindow, bound: float, confidence: float, sink: RowSink, shared: dict[str, Any]
) -> None:
    p, q = before.fused.probabilities, now.fused.probabilities
    if before.label == now.label or min(p.max(), q.max()) < confidence:
        return
    bits = float(divergence(p, q))
    if bits < bound:
        return
    who = now.person[1] or "Unnamed"
    text = f"{who}: perceived expression moves from {before.label} ({p.max():.0%}) to {now.label} ({q.max():.0%})."
    sink.add(
        space="shift",
        label=f"{before.label}→{now.label}",
        score=bits,
        text=text,
        **shared | {"method": "jensen-shannon", "refs": [before.row, now.row]},
    )

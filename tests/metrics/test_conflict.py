from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.metrics import conflict_specificity, subset_means

NAMES = ["video-aligned", "video-aligned", "audio-aligned", "consistent"]


@pytest.mark.sheet("Conflict average = mean of the two conflict subsets; overall = mean of the three subsets")
def test_by_hand() -> None:
    found = subset_means([1.0, 0.0, 0.9, 1.0], NAMES)
    assert found == pytest.approx(
        {"video-aligned": 0.5, "audio-aligned": 0.9, "consistent": 1.0, "conflict": 0.7, "overall": 0.8}
    )


@pytest.mark.sheet("Conflict specificity S = gain on conflict - gain on consistent")
def test_specificity() -> None:
    before = subset_means([0.2, 0.4, 0.6, 0.7], NAMES)
    lifted = {name: value + 0.1 for name, value in before.items()}
    assert conflict_specificity(before, lifted) == pytest.approx(0)
    after = subset_means([0.4, 0.6, 0.6, 0.7], NAMES)
    assert conflict_specificity(before, after) == pytest.approx(0.1)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_means_lie_between_the_subsets(scores: list[float]) -> None:
    found = subset_means(scores, NAMES)
    parts = [found[name] for name in ("video-aligned", "audio-aligned", "consistent")]
    assert min(parts) - 1e-9 <= found["overall"] <= max(parts) + 1e-9


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="no clip is consistent"):
        subset_means([1, 0, 1], NAMES[:3])
    with pytest.raises(ValueError, match="unknown subset 'both'"):
        subset_means([1.0], ["both"])
    with pytest.raises(ValueError, match="3 rows but subsets 4"):
        subset_means([1, 0, 1], NAMES)
    with pytest.raises(ValueError, match="NaN"):
        subset_means([float("nan"), 0, 1, 1], NAMES)

"""Cosine and similarity-profile distances between student and teacher."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.nn.losses.distillation import cosine_distance, profile_distance


def test_equal_vectors_are_at_no_distance_and_orthogonal_ones_at_one() -> None:
    x, anchors = torch.randn(4, 6), torch.randn(5, 6)
    assert float(cosine_distance(x, x)) == pytest.approx(0, abs=1e-6)
    assert float(profile_distance(x, x, anchors)) == pytest.approx(0, abs=1e-6)
    assert float(cosine_distance(torch.eye(4)[:2], torch.eye(4)[2:])) == pytest.approx(1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), scale=st.floats(0.01, 100))
def test_profiles_ignore_lengths_and_what_is_orthogonal_to_all_anchors(seed: int, scale: float) -> None:
    random = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(4, 6, generator=random), torch.randn(4, 6, generator=random)
    anchors = torch.cat([torch.randn(5, 4, generator=random), torch.zeros(5, 2)], 1)
    found = float(profile_distance(student, teacher, anchors))
    assert float(profile_distance(scale * student, teacher, anchors)) == pytest.approx(found, abs=1e-5)
    moved = student + torch.cat([torch.zeros(4, 4), torch.randn(4, 2, generator=random)], 1)
    assert float(profile_distance(moved, teacher, anchors)) == pytest.approx(found, abs=1e-5)
    assert 0 <= found <= 2 + 1e-6

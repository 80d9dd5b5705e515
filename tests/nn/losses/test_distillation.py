"""Prototype banks, logit and prototype distillation, compactness and the late ramp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affectus.errors import ConfigError
from affectus.nn.losses.distillation import (
    PrototypeBank,
    compactness,
    grid_cell,
    grid_centres,
    late_cosine,
    logit_loss,
    prototype_loss,
    prototype_targets,
)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_a_point_goes_to_its_nearest_centre(valence: float, arousal: float) -> None:
    centres = grid_centres()
    row, column = divmod(int(grid_cell(np.array(valence), np.array(arousal))), 5)
    assert abs(centres[column] - valence) <= 0.2 + 1e-9
    assert abs(centres[row] - arousal) <= 0.2 + 1e-9


def test_a_bank_holds_normalised_means() -> None:
    features = np.array([[3.0, 0.0], [0.0, 7.0], [0.0, -2.0]])
    bank = PrototypeBank.from_features(features, np.array([[0.8, 0.8], [0.8, 0.8], [-0.8, -0.8]]))
    np.testing.assert_allclose(bank.vectors[24], [0.5**0.5, 0.5**0.5], atol=1e-6)
    np.testing.assert_allclose(bank.vectors[0], [0, -1], atol=1e-6)
    assert bank.filled.sum() == 2


def test_banks_are_written_read_and_told_apart(tmp_path: Path) -> None:
    bank = PrototypeBank.from_grid(16)
    again = PrototypeBank.read(bank.save(tmp_path / "bank.npz"))
    np.testing.assert_allclose(again.vectors, bank.vectors, atol=1e-6)
    assert again.size == 5
    assert bank.digest == PrototypeBank.from_grid(16).digest != bank.shuffled().digest
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    np.savez(tmp_path / "odd.npz", vectors=np.ones((24, 3)), filled=np.ones(24, bool))
    for name in ("bad.npz", "odd.npz", "absent.npz"):
        with pytest.raises(ConfigError):
            PrototypeBank.read(tmp_path / name)


def test_samples_are_needed() -> None:
    with pytest.raises(ConfigError, match="do not go together"):
        PrototypeBank.from_features(np.zeros((0, 3)), np.zeros((0, 2)))


def test_a_grid_bank_is_more_alike_the_nearer() -> None:
    bank = PrototypeBank.from_grid(2048)
    alike = bank.vectors @ bank.vectors[0]
    assert alike[0] == pytest.approx(1, abs=1e-5)
    assert alike[1] == pytest.approx(np.exp(-(0.4**2) / (2 * 0.6**2)), abs=0.08)
    assert abs(alike[24]) < 0.1


def test_targets_peak_at_the_anchor() -> None:
    bank = PrototypeBank.from_grid(256)
    targets = prototype_targets(bank, np.array([[0.8, 0.4], [-0.8, -0.8]]), 0.1)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    assert targets.argmax(1).tolist() == [3 * 5 + 4, 0]


def test_equal_similarities_cost_nothing() -> None:
    prototypes = torch.nn.functional.normalize(torch.randn(25, 6), dim=-1)
    features = torch.randn(3, 6, requires_grad=True)
    own = (torch.nn.functional.normalize(features, dim=-1) @ prototypes.T / 0.9).softmax(-1).detach()
    assert prototype_loss(features, prototypes, own).item() == pytest.approx(0, abs=1e-6)
    assert prototype_loss(features, prototypes, own.flip(1)).item() > 1e-4


def test_closed_forms_of_logit_losses() -> None:
    student, teacher = torch.tensor([[5.0, 0.0]]), torch.tensor([[0.0, 0.0]], requires_grad=True)
    assert logit_loss(student, teacher).item() == pytest.approx(0.5)  # ((5/5)² + 0) / 2
    p = torch.tensor([5.0 / 5, 0.0]).softmax(0)
    expected = 25 * (0.5 * (0.5 / p).log()).sum()
    assert logit_loss(student, teacher, form="kl").item() == pytest.approx(expected.item(), rel=1e-5)
    logit_loss(student.requires_grad_(), teacher).backward()
    assert teacher.grad is None


def test_compactness_by_hand() -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    labels, counted = torch.tensor([1, 1, 2, 0]), torch.ones(4, dtype=torch.bool)
    # class 1: mean (.5, .5), variance .5; class 2 has one item and so none; means are .5 apart.
    found = compactness(features, labels, (1, 2), counted, cap=0.2, margin=0.75)
    assert found.item() == pytest.approx((0.5 - 0.2) + 2 * (0.75 - 0.5), abs=1e-6)
    assert compactness(features, labels, (1, 2), ~counted).item() == 0


def test_the_ramp() -> None:
    assert [late_cosine(e) for e in (0, 19, 20, 40, 60, 99)] == pytest.approx([0, 0, 0, 0.5, 1, 1])

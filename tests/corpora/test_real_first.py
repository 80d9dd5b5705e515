"""The five corpora the embedded models are trained on, as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from affectus import corpora
from affectus.corpora.readers import ferplus

pytestmark = pytest.mark.corpus


def test_ferplus_votes_majority_and_pixels(shared_data: Path) -> None:
    faces = corpora.load("ferplus", shared_data / "ferplus")
    assert pc.value_counts(faces.table["split"]).to_pylist() == [
        {"values": "train", "counts": 28558},
        {"values": "valid", "counts": 3579},
    ]
    votes = faces.array("votes:ferplus")
    assert votes.shape == (32137, 10)
    targets = faces.targets("label:ferplus8")
    ranked = np.sort(votes, 1)
    clear = (ranked[:, -1] > ranked[:, -2]) & (votes.argmax(1) < 8)
    assert np.array_equal(targets >= 0, clear)
    assert np.array_equal(targets[clear], votes.argmax(1)[clear])
    shares = faces.array("dist:ferplus8")
    assert np.allclose(np.nansum(shares, 1)[votes[:, :8].sum(1) > 0], 1, atol=1e-6)
    assert faces.image(0).shape == (48, 48, 3)
    assert faces.image(0).dtype == np.uint8


def test_ferplus_single_archive_as_root_gives_pictures_in_storage_order(shared_data: Path) -> None:
    faces = corpora.load("ferplus", shared_data / "ferplus" / "FER2013Valid.tar.gz", split="dev")
    assert len(faces) == 3579
    some = np.arange(0, 3579, 400)
    seen = dict(faces.iter_images(some))
    assert sorted(seen) == some.tolist()
    assert np.array_equal(seen[400], faces.image(400))


def test_published_targets_drop_single_votes_and_need_a_half() -> None:
    votes = np.array(
        [
            [9, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            [4, 4, 2, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0, 8, 2],
            [5, 0, 0, 3, 0, 0, 0, 0, 2, 0],
        ]
    )
    assert ferplus.published_targets(votes).argmax(1)[0] == 0
    assert ferplus.published_targets(votes)[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert ferplus.published_targets(votes)[1].sum() == 0  # 4 of 10 is no majority
    assert ferplus.published_targets(votes)[2].sum() == 0  # unknown
    assert np.allclose(ferplus.published_targets(votes, "probability")[3, [0, 3]], [5 / 8, 3 / 8])
    assert np.allclose(ferplus.published_targets(votes, "multi_target")[1, :2], [0.5, 0.5])
    assert ferplus.majority(votes).to_pylist() == ["neutral", None, None, "neutral"]


def test_ravdess_counts_folds_and_sound(shared_data: Path) -> None:
    speech = corpora.load("ravdess", shared_data / "ravdess")
    assert len(speech) == 1080
    assert len(set(speech.column("group:subject"))) == 18
    counts = {r["values"]: r["counts"] for r in pc.value_counts(speech.table["label:ravdess8"]).to_pylist()}
    assert counts["neutral"] == 18 * 4
    assert all(n == 18 * 8 for label, n in counts.items() if label != "neutral")
    folds = dict(zip(speech.column("speaker"), speech.column("fold"), strict=True))
    assert (folds["actor01"], folds["actor04"], folds["actor05"], folds["actor18"]) == (1, 1, 2, 5)
    samples = speech.audio(0)
    assert samples.dtype == np.float32
    assert 2.5 < len(samples) / 16000 < 6
    assert np.abs(samples).max() <= 1


def test_oasis_themes_and_scales(shared_data: Path) -> None:
    pictures = corpora.load("oasis", shared_data / "oasis" / "OASIS_train.tar")
    assert len(pictures) == 755
    assert pictures.row(0)["group:theme"] == "Acorns"
    assert not any(theme[-1].isdigit() for theme in pictures.column("group:theme"))
    valence = pictures.array("dim:valence")
    assert np.allclose(valence * 3 + 4, pictures.array("raw:valence"))
    assert pictures.image(0).shape[2] == 3


def test_goemotions_labels_by_name(shared_data: Path) -> None:
    comments = corpora.load("goemotions", shared_data / "goemotions")
    assert len(comments.split("train")) == 43410
    assert len(comments.split("valid")) == 5426
    assert comments.row(2)["labels:goemotions28"] == ["anger"]
    hot = comments.multi_hot("labels:goemotions28")
    assert hot.shape == (48836, 28)
    assert hot.sum(1).min() == 1


def test_emobank_has_both_sides(shared_data: Path) -> None:
    sentences = corpora.load("emobank", shared_data / "emobank")
    assert len(sentences.split("train")) == 8062
    assert len(sentences.split("valid")) == 1000
    row = sentences.row(0)
    assert (row["raw:dominance"], row["raw:dominance@evoked"], row["raw:dominance@expressed"]) == (3.2, 3.0, 3.4)
    assert np.nanmax(np.abs(sentences.array("dim:valence"))) <= 1

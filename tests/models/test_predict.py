"""What every model promises: one prediction per item, sound numbers, no influence of batch mates, clear refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectus import models
from affectus.errors import ModelError
from affectus.labels import space
from affectus.types import Prediction

TEXTS = ["I am so glad!", "", "He was furious and I was afraid of what would come next, as ever.", "table",
         "wow " * 300, "Sad. Disgusting.", "¡Qué alegría! 😀 我很高兴", "I love it"]  # fmt: skip


Load = Callable[[str], Any]


def items(name: str) -> list[Any]:
    """Inputs of different sizes, more than fit one batch for faces."""
    random = np.random.default_rng(0)
    if name == "words":
        return list(TEXTS)
    if name == "voice":
        time = np.arange(48000) / 16000
        tones = [(0.2 * np.sin(2 * np.pi * f * time[:n])).astype(np.float32) for f, n in
                 ((110, 16000), (220, 4000), (3000, 30001))]  # fmt: skip
        return [*tones, random.normal(0, 0.1, 20000).astype(np.float32), np.zeros(16000, np.float32)]
    shapes = [(48, 48, 3)] * 18 if name == "face" else [(40, 60, 3), (32, 32, 3), (9, 100, 3)]
    ramps = [np.linspace(0, 255, h * w * c).reshape(h, w, c).astype(np.uint8) for h, w, c in shapes[:3]]
    return [*ramps, *(random.integers(0, 256, shape).astype(np.uint8) for shape in shapes)]


def numbers(predictions: list[Prediction]) -> np.ndarray:
    """Scores and dimensions of predictions, one row each."""
    return np.array([[*p.scores.tolist(), *p.dimensions.values()] for p in predictions])


@pytest.mark.parametrize("name", models.NAMES)
def test_one_sound_prediction_per_item(load: Load, name: str) -> None:
    model = load(name)
    batch = items(name)
    predictions = model.predict(batch)
    assert len(predictions) == len(batch)
    card = model.card
    for prediction in predictions:
        assert prediction.labels == card.labels
        assert prediction.space == card.space
        assert prediction.perspective == card.perspective
        assert prediction.scores.shape == (len(card.labels),)
        assert np.isfinite(prediction.scores).all()
        assert all(-1 <= value <= 1 for value in prediction.dimensions.values())
        if name in ("face", "voice"):
            assert prediction.scores.sum() == pytest.approx(1, abs=1e-4)
            assert set(prediction.dimensions) == {"valence", "arousal"}
        if name != "scene":
            assert prediction.scores.min() >= 0
            assert prediction.scores.max() <= 1
            assert set(card.labels) == set(space(card.space).labels)


@pytest.mark.parametrize("name", models.NAMES)
def test_batch_mates_and_order_do_not_matter(load: Load, name: str) -> None:
    model = load(name)
    batch = items(name)
    together = numbers(model.predict(batch))
    assert np.ptp(together, axis=0).max() > 0.01  # the items do differ
    alone = np.concatenate([numbers(model.predict([item])) for item in batch])
    backward = numbers(model.predict(batch[::-1]))[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(together, backward, atol=1e-4)


@pytest.mark.parametrize("name", models.NAMES)
def test_an_empty_batch_gives_nothing(load: Load, name: str) -> None:
    assert load(name).predict([]) == []


@pytest.mark.parametrize("name", ["face", "voice", "scene"])
def test_inputs_are_left_as_they_were(load: Load, name: str) -> None:
    batch = items(name)
    before = [item.copy() for item in batch]
    load(name).predict(batch)
    assert all(np.array_equal(a, b) for a, b in zip(batch, before, strict=True))


@pytest.mark.parametrize("name", ["face", "voice"])
def test_valence_is_derived_from_the_distribution(load: Load, name: str) -> None:
    model = load(name)
    points = space(model.card.space).vad
    for prediction in model.predict(items(name)):
        wanted = sum(p * points[label][0] for p, label in zip(prediction.scores, prediction.labels, strict=True))
        assert prediction.dimensions["valence"] == pytest.approx(wanted, abs=1e-4)


def test_faces_of_any_size_and_in_grey(fake_models: Path) -> None:
    model = models.load("face", fake_models / "face")
    smiling = np.zeros((48, 48), np.uint8)
    smiling[24:] = 255
    large = np.kron(smiling, np.ones((3, 3), np.uint8))
    wide = smiling[:, ::2]
    predictions = model.predict([smiling, np.stack([smiling] * 3, 2), large, smiling[::2, ::2], wide, smiling[::-1]])
    assert [p.top()[0] for p in predictions] == ["happiness"] * 5 + ["sadness"]
    np.testing.assert_allclose(predictions[1].scores, predictions[0].scores, atol=1e-5)
    np.testing.assert_allclose(predictions[2].scores, predictions[0].scores, atol=1e-5)
    assert predictions[0].dimensions["valence"] > 0.5 > 0 > predictions[5].dimensions["valence"]


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        (np.zeros((48, 48, 4), np.uint8), r"face crop 1: has shape \(48, 48, 4\)"),
        (np.zeros((48, 48, 1), np.uint8), r"face crop 1: has shape \(48, 48, 1\)"),
        (np.zeros((0, 48, 3), np.uint8), r"face crop 1: has shape \(0, 48, 3\)"),
        (np.zeros(48, np.uint8), r"face crop 1: has shape \(48,\)"),
        (np.zeros((48, 48), np.float32), "face crop 1: holds float32"),
    ],
)
def test_crops_that_are_none_are_refused(fake_models: Path, crop: np.ndarray, message: str) -> None:
    model = models.load("face", fake_models / "face")
    with pytest.raises(ModelError, match=message):
        model.predict([np.zeros((48, 48, 3), np.uint8), crop])


def test_speech_is_padded_and_cut_to_what_the_model_takes(load: Load) -> None:
    model = load("voice")
    noise = np.random.default_rng(0).normal(0, 0.1, 16000 * 12).astype(np.float32)
    longest, shortest = int(model.longest * 16000), int(model.shortest * 16000)
    whole, cut = (model.predict([audio])[0] for audio in (noise, noise[:longest]))
    np.testing.assert_allclose(whole.scores, cut.scores, atol=1e-6)
    assert model.prepare(noise[:1]).shape == (80, shortest // 160)
    padded = np.pad(noise[:100], (0, shortest - 100))
    np.testing.assert_allclose(model.predict([noise[:100]])[0].scores, model.predict([padded])[0].scores, atol=1e-6)


def test_broken_samples_count_as_silence(fake_models: Path) -> None:
    model = models.load("voice", fake_models / "voice")
    broken = np.zeros(16000, np.float32)
    broken[5:9] = [np.nan, np.inf, -np.inf, np.nan]
    np.testing.assert_allclose(
        model.predict([broken])[0].scores, model.predict([np.zeros(16000, np.float32)])[0].scores, atol=1e-6
    )


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 100), np.float32), r"speech: has shape \(2, 100\)"),
        (np.zeros(0, np.float32), r"speech: has shape \(0,\)"),
        (np.zeros(16000, np.int16), "speech: holds int16"),
    ],
)
def test_samples_that_are_none_are_refused(fake_models: Path, audio: np.ndarray, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        models.load("voice", fake_models / "voice").predict([audio])


def test_words_of_the_fake_model_are_understood(fake_models: Path) -> None:
    model = models.load("words", fake_models / "words")
    glad, nothing, angry = model.predict(["so glad", "", "an ANGRY man"])
    assert (glad.top()[0], nothing.top()[0], angry.top()[0]) == ("joy", "neutral", "anger")
    assert set(glad.dimensions) == {"valence", "arousal", "dominance"}
    assert glad.dimensions["valence"] > 0.5 > -0.5 > angry.dimensions["valence"]


def test_texts_are_cut_at_the_longest_length(load: Load) -> None:
    model = load("words")
    lengths = [len(ids) for ids in model.prepare(["glad " * 1000, "glad"])]
    assert lengths[0] == model.longest
    assert lengths[1] < model.longest
    assert model.thresholds.shape == (len(model.card.labels),)


def test_one_text_instead_of_a_list_is_refused(fake_models: Path) -> None:
    with pytest.raises(ModelError, match=r"texts: is one text \(pass a list of texts\)"):
        models.load("words", fake_models / "words").predict("I am glad")


def test_scenes_have_an_interval_inside_the_scale(load: Load) -> None:
    model = load("scene")
    white, black = np.full((50, 70, 3), 255, np.uint8), np.zeros((50, 70, 3), np.uint8)
    for prediction in model.predict([white, black, *items("scene")]):
        assert prediction.low is not None
        assert prediction.high is not None
        assert (prediction.low >= -1).all()
        assert (prediction.high <= 1).all()
        assert (prediction.low <= prediction.scores).all()
        assert (prediction.scores <= prediction.high).all()
        assert (prediction.low < prediction.high).any()
        assert prediction.scores[0] == pytest.approx(np.clip(prediction.dimensions["valence"], -1, 1))


def test_scene_intervals_are_the_factor_times_the_deviation(fake_models: Path) -> None:
    model = models.load("scene", fake_models / "scene")
    grey = np.full((32, 32, 3), 128, np.uint8)
    prediction = model.predict([grey])[0]
    np.testing.assert_allclose(prediction.scores, [128 / 160 - 0.8, 0.1], atol=1e-5)
    assert prediction.high is not None
    np.testing.assert_allclose(prediction.high - prediction.scores, [1.96 * 0.2] * 2, atol=1e-5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((9, 9), np.uint8), r"picture 0: has shape \(9, 9\)"),
        (np.zeros((9, 9, 4), np.uint8), r"picture 0: has shape \(9, 9, 4\)"),
        (np.zeros((0, 9, 3), np.uint8), r"picture 0: has shape \(0, 9, 3\)"),
        (np.zeros((9, 9, 3)), "picture 0: holds float64"),
    ],
)
def test_pictures_that_are_none_are_refused(fake_models: Path, image: np.ndarray, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        models.load("scene", fake_models / "scene").predict([image])


def test_an_unsure_face_is_seen_in_the_mirror_too(fake_models: Path) -> None:
    """With a second look for all the result is the normalised geometric mean of crop and mirror, else the crop's."""
    model = models.load("face", fake_models / "face")
    crops = [np.random.default_rng(i).integers(0, 256, (48, 48), dtype=np.uint8) for i in range(5)]
    plain, mirrored = (model.probabilities(c) for c in (crops, [crop[:, ::-1].copy() for crop in crops]))
    model.second_look = 1.01
    both = np.sqrt(plain * mirrored)
    np.testing.assert_allclose(model.probabilities(crops), both / both.sum(1, keepdims=True), rtol=1e-5)
    model.second_look = float(np.median(plain.max(1)))
    some = model.probabilities(crops)
    sure = plain.max(1) >= model.second_look
    np.testing.assert_allclose(some[sure], plain[sure])
    assert model.probabilities([]).shape == (0, 8)

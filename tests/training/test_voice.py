"""The voice task: speaker folds, crops, masking, and that it learns what tones differ in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from affectus.corpora.synthetic import tone
from affectus.errors import ConfigError
from affectus.features.mel import log_mel_whisper
from affectus.nn.phase import Phase
from affectus.nn.whisper import WhisperTrunk
from affectus.training.embedded.voice import LABELS, VoiceData, VoiceNet, VoiceTask, mask_spectrogram
from affectus.training.embedded.voice_run import (
    ShippedVoice,
    build,
    cross_validate,
    cross_validated_scores,
    members,
    speaker_folds,
)
from affectus.training.loop import fit
from affectus.training.recipe import Recipe
from affectus.training.speech_augment import SpeechAugment

#: Our label → emotion of the tone generator, and the arousal told to the task.
TONES = {"sad": ("sadness", -0.8), "happy": ("happiness", 0.2), "angry": ("anger", 0.9)}
PHASE = Phase("all", 10, 0.004, 12, weight_decay=0.01)


def tones(count: int, seed: int) -> VoiceData:
    """`count` tones per label, by three speakers."""
    random = np.random.default_rng(seed)
    audio, label, arousal = [], [], []
    for name, (emotion, excited) in TONES.items():
        for _ in range(count):
            audio.append(tone(emotion, random, 0.6))
            label.append(LABELS.index(name))
            arousal.append(excited)
    speakers = np.array([f"actor{i % 3:02d}" for i in range(len(audio))])
    return VoiceData(audio, np.array(label), np.array(arousal, np.float32), speakers)


def tiny(seed: int = 0) -> VoiceNet:
    torch.manual_seed(seed)
    return VoiceNet(WhisperTrunk(1, width=32, heads=2), hidden=32, dropout=0.0)


def quiet(task: VoiceTask) -> VoiceTask:
    """Augmented by gain and noise only, since the tones differ in pitch."""
    task.augment = SpeechAugment(tempo=0.0, room=0.0, codec=0.0, tilt=0.0, gain_db=2.0)
    return task


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> VoiceTask:
    task = quiet(VoiceTask(tones(16, 0), tones(5, 1), tiny()))
    fit(task, [PHASE], tmp_path_factory.mktemp("voice"))
    task.model.eval()
    return task


def test_training_beats_no_training_and_shuffled_labels(learned: VoiceTask, tmp_path: Path) -> None:
    metrics = learned.validate(learned.model)
    untrained = learned.validate(tiny().eval())
    known = learned.train
    order = np.random.default_rng(0).permutation(len(known.label))
    blind = VoiceData(known.audio, known.label[order], known.arousal[order], known.speaker)
    ablation = quiet(VoiceTask(blind, learned.validation, tiny()))
    fit(ablation, [Phase("all", 3, 0.004, 12)], tmp_path)
    shuffled = ablation.validate(ablation.model.eval())
    assert metrics["uar"] > 0.8
    assert metrics["uar"] > max(untrained["uar"], shuffled["uar"]) + 0.25
    assert metrics["ccc_arousal"] > 0.6
    assert abs(untrained["ccc_arousal"]) < 0.3


def test_outputs_do_not_depend_on_the_order_of_clips(learned: VoiceTask) -> None:
    forward = learned.outputs(learned.model, learned.mels)
    backward = learned.outputs(learned.model, learned.mels[::-1])[::-1]
    np.testing.assert_allclose(forward, backward, atol=1e-6)
    assert forward.shape == (15, 9)
    assert np.abs(forward[:, 8]).max() <= 1


def test_the_shipped_form_is_calibrated_and_keeps_arousal(learned: VoiceTask) -> None:
    mel = torch.from_numpy(learned.mels[0])[None]
    with torch.no_grad():
        plain, shipped = learned.model(mel), ShippedVoice([learned.model], 3.0).eval()(mel)
    torch.testing.assert_close(shipped[:, :8], (plain[:, :8] / 3).softmax(1))
    torch.testing.assert_close(shipped[:, 8], plain[:, 8])


def test_without_validation_clips_nothing_is_validated(learned: VoiceTask) -> None:
    nothing = learned.validation[np.arange(0)]
    assert VoiceTask(learned.train, nothing, tiny()).validate(tiny()) == {}


def test_batches_have_one_length_and_their_own_labels() -> None:
    task = VoiceTask(tones(4, 0), tones(1, 1), tiny())
    labels: list[int] = []
    for batch in task.loader(Phase("p", 1, 0.1, 5), 0):
        frames = batch["mel"].shape[2]
        assert batch["mel"].shape[:2] == (5, 80)
        assert 220 <= frames < 380
        labels += batch["label"].tolist()
        for label, arousal in zip(batch["label"].tolist(), batch["arousal"].tolist(), strict=True):
            assert arousal == pytest.approx(TONES[LABELS[label]][1])
    assert len(labels) == 10  # whole batches only
    assert set(labels) <= {LABELS.index(name) for name in TONES}


def test_depth_counts_from_the_heads() -> None:
    torch.manual_seed(0)
    task = VoiceTask(tones(1, 0), tones(1, 1), VoiceNet(WhisperTrunk(2, width=8, heads=2), hidden=4))
    names = ("classes.weight", "mix", "trunk.blocks.1.up.weight", "trunk.blocks.0.up.weight", "trunk.conv1.weight")
    assert [task.depth(name) for name in names] == [0, 0, 1, 2, 3]


def test_recipes_choose_the_size() -> None:
    options = {"blocks": 1, "width": 24, "heads": 3, "pretrained": False, "dropout": 0.2}
    recipe = Recipe(model="voice", title="t", corpora={"ravdess": "all"}, phases=[PHASE], options=options)
    net = build(recipe)
    assert (len(net.trunk.blocks), net.trunk.width, net.trunk.blocks[0].heads) == (1, 24, 3)
    assert {part.p for part in net.modules() if isinstance(part, nn.Dropout)} == {0.2}


def actors(count: int, clips: int = 3) -> np.ndarray:
    return np.repeat([f"actor{i + 1:02d}" for i in range(count)], clips)


@pytest.mark.parametrize(("count", "folds"), [(18, 6), (24, 6), (24, 5), (18, 4), (7, 3), (2, 2)])
def test_folds_hold_whole_speakers_of_both_genders(count: int, folds: int) -> None:
    speakers = actors(count)
    masks = speaker_folds(speakers, folds, seed=0)
    assert len(masks) == folds
    np.testing.assert_array_equal(np.sum(masks, axis=0), np.ones(len(speakers)))  # each row in one fold
    held = [set(speakers[mask]) for mask in masks]
    assert sum(len(names) for names in held) == count  # no speaker in two
    sizes = [len(names) for names in held]
    assert max(sizes) - min(sizes) <= 1
    if count // folds >= 2:
        women = [sum(int(name[-2:]) % 2 == 0 for name in names) for names in held]
        assert all(0 < w < size for w, size in zip(women, sizes, strict=True))
        assert max(women) - min(women) <= 1


def test_folds_follow_the_seed_not_the_order_of_rows() -> None:
    speakers = actors(18)
    first, second, other = (speaker_folds(speakers, 6, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    order = np.random.default_rng(0).permutation(len(speakers))
    for mask, shuffled in zip(first, speaker_folds(speakers[order], 6, 0), strict=True):
        assert set(speakers[mask]) == set(speakers[order][shuffled])


def test_too_few_speakers_are_an_error() -> None:
    with pytest.raises(ConfigError, match="has 3 speakers, too few for 6 folds"):
        speaker_folds(actors(3), 6, 0)


def test_scores_of_a_fold_use_the_temperature_of_the_others() -> None:
    """Fold 0 is made so that its own best temperature would be another one."""
    random = np.random.default_rng(0)
    n = 600
    label = random.integers(0, 8, n)
    logits = random.normal(0, 1, (n, 8)) + 2.0 * np.eye(8)[label]
    outputs = np.concatenate([4 * logits, np.zeros((n, 1))], 1)
    fold_of = np.arange(n) % 3
    data = VoiceData([], label, random.uniform(-1, 1, n), np.array([f"actor{i % 6}" for i in range(n)]))
    scores = cross_validated_scores(data, outputs, fold_of, 4.0)
    assert scores["n"] == n
    assert scores["calibration"]["ece_after"] < 0.5 * scores["calibration"]["ece_before"]
    assert np.asarray(scores["confusion"]).sum() == n
    assert scores["metrics"]["accuracy"]["value"] == pytest.approx((logits.argmax(1) == label).mean(), abs=1e-4)
    assert scores["metrics"]["ccc_arousal"]["value"] == 0  # a constant cannot follow
    wrong = outputs.copy()
    wrong[fold_of == 0, :8] *= -1  # nothing in fold 0 may reach the temperature used for it
    calibrated = cross_validated_scores(data, wrong, fold_of, 4.0)["metrics"]["nll"]["value"]
    assert calibrated > scores["metrics"]["nll"]["value"]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 60), st.integers(0, 99))
def test_masks_blank_one_band_and_one_stretch(batch: int, frames: int, seed: int) -> None:
    torch.manual_seed(seed)
    mel = torch.rand(batch, 80, frames) + 5
    mel[:, 0, 0] = 0  # so that the mean is no value of its own
    masked = mask_spectrogram(mel, 1.0)
    changed = masked != mel
    assert masked.shape == mel.shape
    for clip in range(batch):
        bands = changed[clip].all(1).nonzero()[:, 0]
        times = changed[clip].all(0).nonzero()[:, 0]
        inside = torch.zeros(80, frames, dtype=torch.bool)
        inside[bands] = True
        inside[:, times] = True
        assert torch.equal(changed[clip], inside)
        assert len(bands) <= 24
        assert len(times) <= frames // 5
        assert len(bands) == 0 or len(bands) == int(bands[-1] - bands[0]) + 1
        assert len(times) == 0 or len(times) == int(times[-1] - times[0]) + 1
        torch.testing.assert_close(masked[clip][changed[clip]], mel[clip].mean().expand(int(changed[clip].sum())))


def test_masks_do_mask_and_can_be_turned_off() -> None:
    torch.manual_seed(0)
    mel = torch.rand(20, 80, 100)
    assert mask_spectrogram(mel, 0.0) is mel
    share = (mask_spectrogram(mel, 1.0) != mel).float().mean()
    assert 0.1 < float(share) < 0.4


def test_changed_clips_are_shared_and_differ_between_epochs() -> None:
    data, kept = tones(4, 0), {}
    first = VoiceTask(data[np.arange(6)], data[np.arange(0)], tiny(), changed=kept)
    second = VoiceTask(data[np.arange(3, 12)], data[np.arange(0)], tiny(), changed=kept)
    first.begin(PHASE, 0)
    batch = next(iter(first.loader(PHASE, 5)))
    assert len(batch["mel"]) == 6
    assert sorted(kept) == [(clip, 0) for clip in range(6)]
    before = {key: id(value) for key, value in kept.items()}
    second.begin(PHASE, 0)
    list(second.loader(PHASE, 6))
    assert sorted(kept) == [(clip, 0) for clip in range(12)]
    assert all(id(kept[key]) == value for key, value in before.items())
    second.begin(PHASE, 1)
    list(second.loader(PHASE, 7))
    shapes = {kept[3, 0].shape, kept[3, 1].shape}
    assert len(shapes) == 2 or not np.allclose(kept[3, 0], kept[3, 1])


def members_recipe(count: int) -> Recipe:
    return Recipe(
        model="voice",
        title="tones",
        corpora={"ravdess": "drawn"},
        phases=[Phase("all", 1, 0.004, 4)],
        options={"members": count, "blocks": 1, "width": 32, "heads": 2, "folds": 3, "pretrained": False},
    )


def test_members_differ_in_seed_alone_and_are_averaged(tmp_path: Path) -> None:
    data = tones(3, 0)
    pair = members(members_recipe(2), tmp_path)
    assert [recipe.seed for recipe, _ in pair] == [0, 1]
    assert pair[0][0].fingerprint == members(members_recipe(1), tmp_path)[0][0].fingerprint != pair[1][0].fingerprint
    both, folds = cross_validate(members_recipe(2), data, tmp_path / "both", {})
    alone = []
    for seed in (0, 1):
        recipe = members_recipe(1).model_copy(update={"seed": seed})
        parts = []
        for number in range(3):
            net = build(recipe)
            net.load_state_dict(
                load_file(tmp_path / "both" / f"member{seed + 1}" / f"fold{number + 1}" / "best.safetensors")
            )
            parts.append(VoiceTask(data, data, tiny()).outputs(net.eval(), [log_mel_whisper(a) for a in data.audio]))
        alone.append(np.stack([parts[fold][row] for row, fold in enumerate(folds)]))
    np.testing.assert_allclose(both, np.mean(alone, 0), atol=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3

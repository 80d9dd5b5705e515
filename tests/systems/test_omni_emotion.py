"""Omni-Emotion.

The sheet's line on the filter of self-reviewed descriptions is shown in tests/lm/test_review.py. The paper publishes
neither code nor weights: not shown here is anything against them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from affectus import corpora, evaluation
from affectus.errors import ConfigError, MediaError
from affectus.evaluation.answers import write_folds
from affectus.features.sequences import FacesIfAny, WhisperWindows
from affectus.lm.connectors import build_connector
from affectus.lm.encoders import Tokens
from affectus.lm.fusion import InstructedProjector
from affectus.metrics.classification import uar_of
from affectus.systems.generative import Answer
from affectus.systems.omni_emotion import Config, OmniEmotion, OmniEmotionPretrain, picture_encoder
from affectus.training.optimisation import select_parameters


def system(kind: type[OmniEmotion] = OmniEmotion, **changes: Any) -> OmniEmotion:
    torch.manual_seed(0)
    return kind(replace(Config.tiny(), **changes)).eval()


def tokens(values: Tensor) -> Tokens:
    return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool))


def spliced(own: OmniEmotion, batch: dict[str, Any]) -> list[list[int]]:
    """Places of every branch in the prompts of a batch."""
    places = own.asked(own.conversations(batch, own.kinds(batch)))["modality_ids"]
    return [(places == number + 1).sum(1).tolist() for number in range(len(own.config.branches))]


@pytest.mark.sheet(
    "Shapes: 8 frames + 6 s audio + 8 faces -> exactly n_v + n_f + n_a spliced tokens; removing the face branch "
    "removes n_f only"
)
def test_spliced_tokens() -> None:
    own = system(frames=8)
    batch = own.example(2)
    assert spliced(own, batch) == [[32, 32], [8, 8], [10, 10]]
    without = {k: v for k, v in batch.items() if k != "face"}
    assert spliced(own, without) == [[32, 32], [0, 0], [10, 10]]
    assert spliced(system(frames=8, branches=("video", "audio")), without) == [[32, 32], [10, 10]]
    assert spliced(system(frames=8, face_grid=2), batch)[1] == [32, 32]
    assert spliced(system(face="features", face_width=24), system(face="features", face_width=24).example(1)) == [
        [8], [2], [10],
    ]  # fmt: skip


@pytest.mark.sheet("audio token count = ceil-free 500 for 30 s")
def test_sound_is_one_window_of_thirty_seconds() -> None:
    connector = build_connector("mlp", [1280], 64, 1, {"pool": 3})
    assert connector.count([1500]) == 500
    spec = WhisperWindows()
    short = spec(np.random.default_rng(0).normal(0, 0.1, 6 * 16000).astype(np.float32))
    assert short.shape == (1, 128, 3000)
    assert np.ptp(short[0, :, 700:2990]) == 0, "silence behind the sound"
    assert WhisperWindows(3)(np.ones(70 * 16000, np.float32)).shape == (3, 128, 3000)
    assert WhisperWindows(3, mels=80)(np.ones(31 * 16000, np.float32)).shape == (2, 80, 3000)
    with pytest.raises(MediaError, match="no sample"):
        spec(np.zeros(0, np.float32))


@pytest.mark.sheet(
    "Pool: average pool of a constant Whisper state sequence equals the constant; parameters of each projector = "
    "d_in*d + d + d*d + d"
)
def test_pooling_and_size_of_projectors() -> None:
    own = system()
    for name, connector in own.model.connectors.items():
        width_in, width = own.model.config.encoder(name).width, 32
        assert sum(p.numel() for p in connector.parameters()) == width_in * width + width + width * width + width
    audio: Any = own.model.connectors["audio"]
    constant = torch.randn(24)
    found = audio([tokens(constant.expand(1, 30, 24))]).values
    torch.testing.assert_close(found, audio.project(constant).expand(1, 10, 32))


def trained(own: OmniEmotion, number: int = 0) -> set[str]:
    select_parameters(own, own.phases()[number])
    return {name for name, p in own.named_parameters() if p.requires_grad}


@pytest.mark.sheet("Phase switch: the set of trainable parameter names changes exactly as in the table")
def test_phases_open_what_the_table_says() -> None:
    own = system(OmniEmotionPretrain)
    parts = {name: {n for n, _ in own.named_parameters() if n.startswith(f"model.connectors.{name}.")}
             for name in own.config.branches}  # fmt: skip
    assert trained(own, 0) == parts["audio"]
    assert trained(own, 1) == parts["audio"] | parts["face"]
    tuned = system(learn_head=False)
    lora = {n for n, _ in tuned.named_parameters() if ".lora_" in n}
    assert lora
    assert trained(tuned) == lora | parts["audio"] | parts["face"] | parts["video"]
    full = system(tuning="full", learn_head=False)
    base = {n for n, _ in full.named_parameters() if n.startswith("model.language_model.")}
    assert trained(full) == base | parts["audio"] | parts["face"] | parts["video"]
    opened = system(open_vision=True, learn_head=False)
    vision = {n for n in trained(opened) if n.startswith("model.encoders.")}
    assert vision
    assert all(n.startswith("model.encoders.video.") for n in vision)
    assert opened.phases()[0].rates == {r"model\.encoders\.video\.": 0.1}


def test_audio_alignment_goes_without_faces() -> None:
    own = system(OmniEmotionPretrain)
    batch = own.example(1)
    own.enter(own.phases()[0])
    assert spliced(own, batch) == [[8], [0], [10]]
    own.enter(own.phases()[1])
    assert spliced(own, batch) == [[8], [2], [10]]


def _clips(task: str, count: int, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs whose label is a bit: of stripes on a small face (2 % of the frame; the crop shows them large), or of the
    pitch of the sound. Frames are noise otherwise."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 2, count)
    video, face, audio = [], [], []
    audio_spec = WhisperWindows(1, 20, 0.6)
    times = np.arange(9600) / 16000
    for bit in bits:
        frames = random.normal(0, 1, (4, 3, 24, 24)).astype(np.float32)
        stripes = np.where(np.add.outer(np.arange(24), np.zeros(24)) % 4 < 2, 1.0, -1.0)
        crops = np.broadcast_to(stripes.T if bit else stripes, (4, 3, 24, 24)) + random.normal(0, 0.3, (4, 3, 24, 24))
        row, column = random.integers(0, 21, 2)
        frames[:, :, row : row + 3, column : column + 3] = crops[:, :, :3, :3]  # 9 of 576 pixels
        pitch = 300 if (bit if task == "audio" else random.integers(0, 2)) else 1200
        video.append(frames)
        face.append(crops if task == "face" else random.normal(0, 1, crops.shape))
        audio.append(audio_spec((0.3 * np.sin(2 * np.pi * pitch * times)).astype(np.float32)))
    made: dict[str, Any] = {"video": video, "face": face, "audio": audio}
    return {k: torch.from_numpy(np.stack(v)).float() for k, v in made.items()}, torch.from_numpy(bits)


def _accuracy(task: str, branch: str, with_it: bool, seed: int) -> float:
    """Held-out accuracy of a linear read-out on the mean token of each branch, with the frozen encoders of the system.
    Without the branch frames have 9 tokens in place of 4, which makes more tokens than with it."""
    own = system(frames=4, branches=("video", branch) if with_it else ("video",), grid=2 if with_it else 3)
    torch.manual_seed(seed)
    sets = [_clips(task, count, seed + at) for at, count in ((0, 128), (1000, 128))]
    encoded = []
    for media, labels in sets:
        mask = torch.ones(len(labels), 1, dtype=torch.bool)
        with torch.no_grad():
            encoded.append(({n: own.model.encoders[n](media[n], mask.expand(-1, media[n].shape[1]))
                             for n in own.config.branches}, labels))  # fmt: skip
    read_out = nn.Linear(32 * len(own.config.branches), 2)
    learnt = [*own.model.connectors.parameters(), *read_out.parameters()]
    optimizer = torch.optim.Adam(learnt, 3e-3)

    def logits(found: dict[str, Tokens]) -> Tensor:
        parts = [own.model.connectors[n]([found[n]]).values.mean(1) for n in own.config.branches]
        return read_out(torch.cat(parts, 1))

    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits(encoded[0][0]), encoded[0][1]).backward()
        optimizer.step()
    with torch.no_grad():
        return float((logits(encoded[1][0]).argmax(1) == encoded[1][1]).float().mean())


@pytest.mark.learning
@pytest.mark.sheet(
    "Synthetic: label depends on a small face patch (2 % of the pixels): with the face branch >= 20 points more "
    "accuracy than without at equal token budget; with audio bit tasks likewise for the audio branch"
)
@pytest.mark.parametrize("branch", ["face", "audio"])
def test_a_branch_brings_what_the_frames_do_not_show(branch: str) -> None:
    gains = [_accuracy(branch, branch, True, seed) - _accuracy(branch, branch, False, seed) for seed in range(2)]
    assert min(gains) >= 0.2, gains


@pytest.mark.sheet("WAR/UAR: confusion matrix [[8,2],[1,1]] -> WAR .75, UAR .65")
def test_weighted_and_unweighted_recall() -> None:
    table = np.array([[8, 2], [1, 1]])
    assert np.trace(table) / table.sum() == 0.75
    assert float(uar_of(table)) == pytest.approx(0.65)


class _Constant(nn.Module):
    """Answers every question the same way, and keeps the words of the last question."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.weight, self.word = nn.Parameter(torch.zeros(1)), word

    def inputs_for(self, _corpus: Any) -> dict[str, Any]:
        return {}

    def answer(self, batch: dict[str, Any], kind: str) -> list[Answer]:
        self.asked = (kind, batch["record"][0]["labels"])
        return [Answer(f"The answer is {self.word}.", (), "ok") for _ in batch["id"]]


@pytest.mark.sheet("Five-fold runner averages WAR/UAR over folds and reports std")
def test_five_folds(tmp_path: Path) -> None:
    root = corpora.write_tiny("dfew", tmp_path / "dfew")
    clips = corpora.load("dfew", root)
    systems = {fold: _Constant("happy" if fold < 3 else "sad") for fold in range(1, 6)}
    names = clips.labels("label:dfew7")
    system_of: Any = systems.__getitem__
    found = write_folds(system_of, clips, tmp_path / "out", labels=names)
    assert found.keys() == {1, 2, 3, 4, 5}
    assert systems[1].asked == ("onehot", list(names))
    lines = [json.loads(line) for line in (tmp_path / "out" / "fold_1.jsonl").read_text().splitlines()]
    assert all(line["prediction"] == "The answer is happy." for line in lines)
    truth = clips.column("label:dfew7")
    rates = []
    for fold in range(1, 6):
        own = [label for label, k in zip(truth, clips.column("fold"), strict=True) if k == fold]
        rates.append(np.mean([label == systems[fold].word for label in own]))
    for variant in ("published", "strict"):
        record = evaluation.score("dfew/answers", tmp_path / "out", root, variant)
        spread = record["parts"]["standard deviation over folds"]["accuracy"]
        assert spread == pytest.approx(np.std(rates, ddof=1))
        pooled = [label == systems[k].word for label, k in zip(truth, clips.column("fold"), strict=True)]
        expected = np.mean(rates) if variant == "published" else np.mean(pooled)
        assert record["metrics"]["accuracy"]["value"] == pytest.approx(expected)


def test_parsers_of_answers() -> None:
    from affectus.evaluation.task_labels import parse_answer
    from affectus.labels import space

    mafw, mer = space("mafw11"), space("mer6")
    assert parse_answer("He looks anxious.", mafw, "omni_emotion", "contains", mafw.labels, "anxiety") == "anxiety"
    assert parse_answer("sad or anxious", mafw, "omni_emotion", "contains", mafw.labels, "fear") is None
    assert parse_answer("sad, not happy", mafw, None, "first", mafw.labels, "") == "sadness"
    assert parse_answer("happy and worried", mer, None, "last", mer.labels, "") == "worried"
    assert parse_answer("", mer, None, "last", mer.labels, "") == "worried", "the published quirk"
    assert parse_answer("", mer, None, "first", mer.labels, "") is None


def test_a_clip_without_a_face_has_no_face_tokens() -> None:
    spec = FacesIfAny(2)
    assert np.isnan(spec(None)).all()
    assert np.isnan(spec([])).all()
    assert spec.optional
    own = system()
    batch = own.example(3)
    alone = own({k: v[1:2] for k, v in batch.items()})["nll"]
    batch["face"][0] = float("nan")
    assert spliced(own, batch) == [[8, 8, 8], [0, 2, 2], [10, 10, 10]]
    first, second = (item["messages"][-1]["content"] for item in own.conversations(batch, own.kinds(batch))[:2])
    assert "No face is visible" in first
    assert "No face is visible" not in second
    assert own.tally["branch face dropped: there is no face"] >= 1
    found = own(batch)["nll"]
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[1:2], alone, rtol=1e-4, atol=1e-5)


def test_the_question_can_weigh_the_branches() -> None:
    connector = InstructedProjector([16], 32, place=1, branches=2)
    nn.init.zeros_(connector.gate.weight)
    with torch.no_grad():
        connector.gate.bias.copy_(torch.tensor([0.0, float(np.log(3))]))
    source = tokens(torch.randn(2, 5, 16))
    found = connector([source], tokens(torch.randn(2, 7, 32)))
    torch.testing.assert_close(found.values, 1.5 * connector.project(source.values))
    assert connector.trace["gate"][0].tolist() == pytest.approx([0.25, 0.75])
    own = system(instruction_gate=True)
    assert own.model.connectors["face"].gate is own.model.connectors["video"].gate
    assert torch.isfinite(own(own.example(2))["nll"]).all()


def test_settings_that_cannot_be() -> None:
    assert (picture_encoder("tiny", 24).tokens_per_item, picture_encoder("tiny", 24, 1).tokens_per_item) == (36, 35)
    with pytest.raises(ValueError, match="some of video, face and audio"):
        Config(branches=("smell",))
    own = system()
    batch = own.example(1)
    with pytest.raises(ConfigError, match="video, face, audio, text"):
        own({"record": batch["record"]})

"""MoSEAR.

The sheet's lines on single layers and on attention rows are shown in tests/lm (test_modality_experts,
test_reallocation), its learning tests in test_mosear_learning. Not shown here: the real checkpoint on its 7 B base.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from affectus import corpora, metrics
from affectus.errors import ConfigError, ModelError
from affectus.evaluation.presets import benchmark
from affectus.lm.modality_experts import expert_layers, parameter_count
from affectus.systems.mosear import Backbone, Config, EvaFrames, MoSEAR, NativeConfig, NativeMoSEAR
from affectus.training.optimisation import select_parameters


def system(kind: type[Backbone] = MoSEAR, **changes: Any) -> Any:
    torch.manual_seed(0)
    return kind(replace(Config.tiny(), **changes)).eval()


@pytest.mark.sheet("With B = 0 the MoSE layer equals the frozen layer exactly; parameter count per layer")
def test_fresh_experts_on_a_backbone_are_the_backbone(tmp_path: Path) -> None:
    backbone = system(Backbone)
    for name, parameter in backbone.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    own = system()
    assert not torch.equal(own(own.example(2))["nll"], backbone(backbone.example(2))["nll"])
    left = own.initialise(backbone.state_dict())
    assert left
    assert all(".lora_" in name for name in left)
    batch = own.example(3)
    assert torch.equal(own(batch)["nll"], backbone(batch)["nll"])
    quiet = system(rho=0.0)
    quiet.initialise(backbone.state_dict())
    asked = {key: batch[key] for key in own.inputs()}
    assert quiet(asked)["texts"] == backbone(asked)["texts"]
    layers = expert_layers(own)
    assert len(layers) == 2 * 2
    for made in layers:
        added = sum(p.numel() for name, p in made.named_parameters() if name.startswith("lora_"))
        assert added == parameter_count(made.in_features, made.out_features, 4, 3)


def test_the_second_stage_trains_experts_alone() -> None:
    own = system()
    (phase,) = own.phases()
    select_parameters(own, phase)
    learnt = {name for name, p in own.named_parameters() if p.requires_grad}
    assert len(learnt) == 4 * 4
    assert all(name.endswith((".lora_down", ".lora_up", ".lora_gate", ".lora_balance")) for name in learnt)
    assert (phase.lr, phase.epochs, phase.batch_size, phase.accumulate) == (1e-5, 10, 1, 8)
    coarse, fine = system(Backbone).phases()
    assert (coarse.lr, coarse.final_lr, fine.lr, fine.schedule) == (1e-5, 0.1, 1e-6, "constant")


@pytest.mark.sheet("L = L_LM + lambda * L_gate, lambda .1; expert load balance lambda_e .01")
def test_losses() -> None:
    own = system()
    batch = own.example(3)
    with torch.no_grad():
        for made in expert_layers(own):
            made.lora_balance[0] = 1.0
    outputs = own(batch)
    found = own.losses(batch, outputs)
    assert set(found) == {"answer", "balance", "load"}
    torch.testing.assert_close(found["balance"], 0.1 * outputs["balance"])
    assert outputs["balance"].item() > 0
    torch.testing.assert_close(found["load"], torch.tensor(0.01)), "all items choose the first expert, gates are even"
    routing = expert_layers(own)[0].routing
    assert routing is not None
    assert routing.weights.shape == (3, 2)


@pytest.mark.sheet("frame -> 256 x 5632 -> 256 tokens; FaceMAE, VideoMAE, HuBERT, CLS -> 4 tokens: 260 in all")
def test_places_of_the_published_layout(tmp_path: Path) -> None:
    """A one-layer EVA of width 16 at 448²; the vectors cached."""
    from transformers import Blip2VisionConfig, Blip2VisionModel

    sizes = Blip2VisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                              image_size=224, patch_size=14)  # fmt: skip
    Blip2VisionModel(sizes).save_pretrained(tmp_path / "eva")
    own = system(Backbone, frame="eva", eva=str(tmp_path / "eva"), frames=1, face="features", motion="features",
                 audio="features", vector_width=8, audio_width=8, context=600)  # fmt: skip
    frame: Any = own.model.connectors["frame"].project[0]
    assert (frame.in_features, frame.out_features) == (4 * 16, 32)
    batch = {"frame": torch.randn(1, 1, 3, 448, 448), "face": torch.randn(1, 1, 8), "motion": torch.randn(1, 1, 8),
             "audio": torch.randn(1, 1, 8), "text": ["Well."]}  # fmt: skip
    asked = own.asked(own.conversations(batch, ["ovlabel"]))
    counts = torch.bincount(asked["modality_ids"][0], minlength=6)[1:].tolist()
    names = own.model.config.branch_names
    assert dict(zip(names, counts, strict=True)) == {"frame": 256, "face": 1, "motion": 1, "audio": 1, "whole": 1}
    placed = [names[i - 1] for i in asked["modality_ids"][0].tolist() if i]
    assert placed[256:] == ["face", "motion", "audio", "whole"]
    with torch.no_grad():
        assert torch.isfinite(own.model(**asked).logits).all()
    patches = own.model.encoders["frame"].module(batch["frame"][0])
    assert patches.shape == (1, 1025, 16)
    found = own.model.branch_tokens(asked["media"], {1: "frame", 5: "whole"})
    expected = frame(patches[0, 1:5].flatten())
    torch.testing.assert_close(found[1][1].values[0, 0], expected, atol=1e-5, rtol=1e-5)
    whole: Any = own.model.connectors["whole"].project
    torch.testing.assert_close(found[5][1].values[0, 0], whole(patches[0, 0]), atol=1e-5, rtol=1e-5)
    with pytest.raises(ModelError, match="no BLIP-2 picture encoder"):
        EvaFrames(str(tmp_path / "nothing"))


def test_prompt_and_missing_modalities() -> None:
    own = system()
    batch = own.example(2)

    def text(**changes: Any) -> str:
        return own.conversations({**batch, **changes}, ["onehot"] * 2)[0]["messages"][0]["content"]

    assert "<video><FrameHere></video> <feature><FaceHere><AudioHere><WholeHere></feature>" in text()
    assert f"The person in video says: {batch['text'][0]}" in text()
    assert "[emotion]" in text()
    assert "[reason]" in own.conversations(batch, ["description"] * 2)[0]["messages"][0]["content"]
    silent = text(audio=None)
    assert "There is no sound." in silent
    assert "<AudioHere>" not in silent
    assert own.tally["branch audio dropped: there is no audio"] == 1
    del batch["audio"]
    asked = own.asked(own.conversations(batch, own.kinds(batch)))
    own.model(**asked)
    assert next(made.routing.weights.tolist() for made in expert_layers(own)) == [[1.0, 0.0]] * 2
    assert len(own.answer(batch)) == 2
    with pytest.raises(ConfigError, match="frame, face, audio, text"):
        own({"record": batch["record"]})


def test_without_sound_there_is_nothing_to_balance() -> None:
    with pytest.raises(ConfigError, match="need sound and pictures"):
        system(audio="")
    seeing = system(Backbone, audio="")
    assert set(seeing.inputs()) == {"frame", "face", "text"}
    with pytest.raises(ConfigError, match="needs sound and pictures"):
        seeing.reliance(seeing.example(1))


@pytest.mark.sheet("AR needs no training: rho = 0 is the frozen model, text mass stays")
def test_attention_is_moved_while_answering_and_never_while_learning() -> None:
    own = system(rho=1.0, high=0.5, band=(0, 1))
    batch = own.example(2)
    asked = own.asked(own.conversations(batch, ["ovlabel"] * 2))
    plain = own.model(**asked).logits[:, -1]
    before = own(batch)["nll"]
    with own.model.reallocating(own.reallocation()) as state:
        moved = own.model(**asked).logits[:, -1]
    assert state.layers == {0, 1}
    assert not torch.allclose(moved, plain, atol=1e-7)
    with own.model.reallocating(own.reallocation(0.0)):
        torch.testing.assert_close(own.model(**asked).logits[:, -1], plain, atol=1e-5, rtol=1e-4)
    own.texts(asked)
    assert own.model.spans.calls > 0
    assert torch.equal(own(batch)["nll"], before)
    default = system().reallocation()
    assert (default.rho, default.high) == (0.5, 0.6)
    assert (default.first, default.second) == (("frame", "face", "whole"), ("audio",))
    assert default.band(32) == set(range(10, 21))


@pytest.mark.sheet("Report both: total mass and per-token mean")
def test_reliance_report() -> None:
    own = system()
    batch = own.example(3)
    rows = own.reliance(batch)
    assert len(rows) == 3
    for row in rows:
        assert row["visual"]["tokens"] == 2 + 1 + 1
        assert row["audio"]["tokens"] == 1
        assert row["visual"]["weight"] == row["audio"]["weight"] == 0.5
        assert 0 < row["audio_share"] < row["audio_share_per_token"] < 1, "one token against four"
        assert np.isfinite([row["visual"]["loss_without"], row["audio"]["loss_without"]]).all()
    del batch["record"]
    assert "loss_without" not in own.reliance(batch)[0]["visual"]


@pytest.mark.sheet("Metric example gives .7778/.8333/.8056; the confusion-matrix oracle reproduces to 1e-12")
def test_metrics() -> None:
    synonyms = benchmark("ca-mer").published.options["synonyms"]
    truth, guess = [["happy"], ["angry", "worry"], ["sad"]], [["joy"], ["anger"], ["sad", "fear", "neutral"]]
    assert metrics.word_precision(truth, guess, synonyms) == pytest.approx(0.7778, abs=1e-4)
    assert metrics.word_recall(truth, guess, synonyms) == pytest.approx(0.8333, abs=1e-4)
    assert metrics.word_overlap(truth, guess, synonyms) == pytest.approx(0.8056, abs=1e-4)
    matrix = np.array([[179, 1, 2, 1, 0, 0], [2, 152, 7, 4, 3, 1], [10, 10, 134, 6, 2, 4], [2, 2, 1, 250, 0, 2],
                       [1, 0, 3, 1, 6, 3], [4, 1, 3, 2, 1, 34]])  # fmt: skip
    rows = np.repeat(np.arange(6), matrix.sum(1))
    columns = np.concatenate([np.repeat(np.arange(6), row) for row in matrix])
    assert metrics.accuracy(rows, columns) == pytest.approx(0.9052757793764988, abs=1e-12)
    assert metrics.weighted_precision(rows, columns) == pytest.approx(0.9036254851540454, abs=1e-12)
    assert metrics.weighted_f1(rows, columns) == pytest.approx(0.9035772132511264, abs=1e-12)


@pytest.mark.sheet("Loader test with a fixture of 3 JSON files and no media")
def test_labels_without_media(tmp_path: Path) -> None:
    for subset, labels in {"video-aligned": ("sad", "sad", "angry"), "audio-aligned": ("worried", "happy", "worry"),
                           "consistent": ("fear", "fear", "fear")}.items():  # fmt: skip
        item = dict(zip(("label", "video_label", "audio_label"), labels, strict=True)) | {"file_name": f"{subset}_1"}
        (tmp_path / f"{subset}.json").write_text(json.dumps([item]))
    clips = corpora.load("ca_mer", tmp_path)
    assert clips.column("meta:subset") == ["video-aligned", "audio-aligned", "consistent"]
    assert clips.column("label:merr9") == ["sad", "worry", "fear"]
    assert clips.column("media") == [None] * 3
    targets = system().targets(clips, "label:merr9")["record"]
    assert [record["label"] for record in targets] == ["sad", "worry", "fear"]


def _published_layout(width: int, rank: int, frame: int, vector: int, sound: int) -> dict[str, Tensor]:
    """Random weights under the names and shapes of an Emotion-LLaMA checkpoint with two layers."""
    linear = {"llama_proj": 4 * frame, "feats_llama_proj1": vector, "feats_llama_proj2": vector,
              "feats_llama_proj3": sound, "cls_tk_llama_proj": frame}  # fmt: skip
    state = {f"{name}.weight": torch.randn(width, inner) for name, inner in linear.items()}
    state |= {f"{name}.bias": torch.randn(width) for name in linear}
    for number in range(2):
        for name, outer in (("q_proj", width), ("v_proj", width // 2)):
            stem = f"llama_model.base_model.model.model.layers.{number}.self_attn.{name}"
            state[f"{stem}.lora_A.weight"] = torch.randn(rank, width)
            state[f"{stem}.lora_B.weight"] = torch.randn(outer, rank)
    return state


@pytest.mark.parametrize("kind", [Backbone, MoSEAR])
def test_published_backbone(kind: type[Backbone]) -> None:
    config = replace(Config.tiny(), learn_head=False, motion="features")
    state = _published_layout(32, 8, 16, 16, 24)
    found = kind.from_published({"model": state, "epoch": 3}, config)
    own = {name.replace(".base.", "."): value for name, value in found.state_dict().items()}
    torch.testing.assert_close(own["model.connectors.frame.project.0.weight"], state["llama_proj.weight"])
    torch.testing.assert_close(own["model.connectors.audio.project.bias"], state["feats_llama_proj3.bias"])
    key = "model.layers.1.self_attn.v_proj.lora_B"
    torch.testing.assert_close(
        own[f"model.language_model.{key}.default.weight"], state[f"llama_model.base_model.model.{key}.weight"]
    )
    with pytest.raises(ModelError, match=r"1 missing .*whole\.project\.bias"):
        kind.from_published({k: v for k, v in state.items() if k != "cls_tk_llama_proj.bias"}, config)
    with pytest.raises(ModelError, match=r"1 unexpected \(moe\.x\)"):
        kind.from_published({**state, "moe.x": torch.zeros(2)}, config)
    with pytest.raises(ConfigError, match="no adapter"):
        kind.from_published({"llama_proj.weight": torch.zeros(2, 2)})


def test_the_same_on_a_video_language_model_as_it_comes() -> None:
    torch.manual_seed(0)
    own = NativeMoSEAR(NativeConfig.tiny()).eval()
    batch = own.example(2)
    assert batch["frame"].shape == (2, 2, 2, 3, 14, 14)
    assert batch["audio"].shape == (2, 40, 16)
    asked = own.asked(own.conversations(batch, own.kinds(batch)))
    assert [(asked["modality_ids"] == number).sum(1).tolist() for number in (1, 2)] == [[2, 2], [10, 10]]
    text = own.processor.tokenizer.decode(asked["input_ids"][0])
    assert "<|vision_start|><|video_pad|><|video_pad|><|vision_end|>" in text
    assert text.count("<|AUDIO|>") == 10
    layers = expert_layers(own)
    assert [made.routing for made in layers] == [None] * 4
    before = own(batch)["nll"]
    assert all(made.routing is not None and made.routing.present.all() for made in layers)
    torch.nn.init.normal_(layers[0].lora_up)
    assert not torch.equal(own(batch)["nll"], before)
    (phase,) = own.phases()
    select_parameters(own, phase)
    assert sum(p.requires_grad for p in own.parameters()) == 4 * 4
    (row, _) = own.reliance(batch)
    assert (row["visual"]["tokens"], row["audio"]["tokens"]) == (2, 10)
    assert NativeConfig.omni().base == "Qwen/Qwen2.5-Omni-7B"


def test_a_model_that_does_not_hear_has_nothing_to_balance() -> None:
    with pytest.raises(ConfigError, match="need sound and pictures"):
        NativeMoSEAR(replace(NativeConfig.tiny(), base="toy:vl2.5", hears=False))
    with pytest.raises(ConfigError, match="no such branch"):
        NativeMoSEAR(replace(NativeConfig.tiny(), base="toy:vl2.5"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        NativeMoSEAR(replace(NativeConfig.tiny(), base="/nowhere/at/all"))

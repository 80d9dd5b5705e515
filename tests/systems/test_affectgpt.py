"""AffectGPT.

The sheet's line on the epoch tables of MER-UniBench is shown where the scorer lives, in tests/evaluation; what a test
of this system adds is that its own answers go through that scorer in both forms (tests/evaluation/test_answers.py).
Not shown here: the real checkpoint on its 7 B base.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from affectus.errors import ConfigError, MediaError, ModelError
from affectus.features.sequences import SoundClips, spread_rows
from affectus.lm.connectors import build_connector
from affectus.lm.encoders import Tokens
from affectus.systems import registry
from affectus.systems.affectgpt import AffectGPT, Config
from affectus.systems.branched import read_mode


def system(**changes: Any) -> AffectGPT:
    torch.manual_seed(0)
    return AffectGPT(replace(Config.tiny(), **changes)).eval()


def tokens(values: Tensor) -> Tokens:
    return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool))


@pytest.mark.sheet(
    "With tiny stand-ins the three branches return [B,1,32]; scaling V by 2 scales the pooled vector by 4"
)
def test_branches() -> None:
    model = system().model
    video, audio = torch.randn(3, 8, 16), torch.randn(3, 8, 24)
    mask = torch.ones(3, 8, dtype=torch.bool)
    media = {"face": (video, mask), "audio": (audio, mask)}
    found = model.branch_tokens(media, {1: "multi", 2: "audio", 3: "face"})
    assert all(found[i][1].values.shape == (3, 1, 32) for i in found)
    connector: Any = model.connectors["face"]
    nn.init.zeros_(connector.weight.bias)
    torch.testing.assert_close(connector.pool(tokens(2 * video)), 4 * connector.pool(tokens(video)))


def test_branches_equal_the_written_formulas() -> None:
    """The public code's formulas in plain algebra, from the same weights."""
    model = system().model
    video, audio = torch.randn(2, 8, 16), torch.randn(2, 8, 24)
    mask = torch.ones(2, 8, dtype=torch.bool)
    found = model.branch_tokens({"face": (video, mask), "audio": (audio, mask)}, {1: "multi", 2: "audio", 3: "face"})
    own = {name: value.detach() for name, value in model.connectors.named_parameters()}
    for name, values in (("face", video), ("audio", audio)):
        pooled = torch.zeros(2, values.shape[2])
        for step in range(8):
            weight = values[:, step] @ own[f"{name}.weight.weight"].T + own[f"{name}.weight.bias"]
            pooled += weight * values[:, step]
        expected = pooled @ own[f"{name}.project.weight"].T + own[f"{name}.project.bias"]
        got = found[3 if name == "face" else 2][1].values[:, 0]
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    v = video.mean(1) @ own["multi.embed.0.weight"].T + own["multi.embed.0.bias"]
    u = audio.mean(1) @ own["multi.embed.1.weight"].T + own["multi.embed.1.bias"]
    hidden = torch.cat([v, u], 1) @ own["multi.mix.weight"].T + own["multi.mix.bias"]
    shares = hidden @ own["multi.weigh.weight"].T + own["multi.weigh.bias"]
    joint = shares[:, :1] * v + shares[:, 1:] * u
    expected = joint @ own["multi.project.weight"].T + own["multi.project.bias"]
    torch.testing.assert_close(found[1][1].values[:, 0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.sheet("Placeholder splice: embeddings at placeholder positions equal branch outputs, all others the table")
def test_splice_in_the_prompt_of_the_system() -> None:
    own = system()
    batch = own.example(2)
    asked = own.asked(own.conversations(batch, own.kinds(batch)))
    places, media = asked["modality_ids"], asked["media"]
    embeddings = own.model.embed(asked["input_ids"], places, media, asked["attention_mask"])
    found = own.model.branch_tokens(media, {1: "multi", 2: "audio", 3: "face"})
    for number in (1, 2, 3):
        assert (places == number).sum(1).tolist() == [1, 1]
        torch.testing.assert_close(embeddings[places == number], found[number][1].values[:, 0])
    table = own.model.get_input_embeddings()(asked["input_ids"])
    assert torch.equal(embeddings[places == 0], table[places == 0])
    wrong = places.clone()
    wrong[0, (places[0] == 0).nonzero()[-1]] = 3
    with pytest.raises(ModelError, match="reserves 2 places but has 1"):
        own.model.embed(asked["input_ids"], wrong, media, asked["attention_mask"])


@pytest.mark.sheet("Label mask: number of non-masked labels == tokens of answer + separator")
def test_loss_is_over_answer_and_separator() -> None:
    own = system()
    batch = own.example(3)
    tokenizer = own.processor.tokenizer
    found = own(batch)
    items = own.conversations(batch, own.kinds(batch))
    wanted = [len(tokenizer(item["answer"] + "###", add_special_tokens=False)["input_ids"]) for item in items]
    assert found["tokens"].tolist() == wanted
    # At frozen logits the wording of the prompt cannot matter: only answer tokens are counted.
    nn.init.zeros_(own.model.language_model.lm_head.modules_to_save["default"].weight)
    flat = own(batch)["nll"]
    other = own({**batch, "text": ["Something else entirely."] * 3})["nll"]
    torch.testing.assert_close(flat, other)
    torch.testing.assert_close(flat, torch.full((3,), float(np.log(len(tokenizer)))))


def _xor(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Frames 16-d and sound 24-d that carry one bit each, in noise, and the exclusive or of the bits."""
    bits = torch.randint(0, 2, (count, 2), generator=generator)
    directions = torch.randn(2, 24, generator=torch.Generator().manual_seed(5))
    signs = (2.0 * bits - 1)[:, :, None, None]
    video = signs[:, 0] * directions[0, :16] + 0.5 * torch.randn(count, 8, 16, generator=generator)
    audio = signs[:, 1] * directions[1] + 0.5 * torch.randn(count, 8, 24, generator=generator)
    return video, audio, bits[:, 0] ^ bits[:, 1]


def _read_out(joint: bool, seed: int) -> float:
    """Held-out accuracy of a linear read-out on the joint token, or on the audio and video tokens side by side."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    learn, held = _xor(600, generator), _xor(400, generator)
    if joint:
        parts = [build_connector("prefusion", [16, 24], 32, 1, {})]
    else:
        parts = [build_connector("attention", [16], 32, 1, {}), build_connector("attention", [24], 32, 1, {})]
    linear = nn.Linear(32 * len(parts), 2)
    optimizer = torch.optim.Adam([p for m in (*parts, linear) for p in m.parameters()], 3e-3)

    def logits(video: Tensor, audio: Tensor) -> Tensor:
        if joint:
            return linear(parts[0]([tokens(video), tokens(audio)]).values[:, 0])
        found = [part([tokens(v)]).values[:, 0] for part, v in zip(parts, (video, audio), strict=True)]
        return linear(torch.cat(found, 1))

    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits(*learn[:2]), learn[2]).backward()
        optimizer.step()
    with torch.no_grad():
        return float((logits(*held[:2]).argmax(1) == held[2]).float().mean())


@pytest.mark.learning
@pytest.mark.sheet(
    "Pre-fusion learns the XOR of an audio and a video bit by a linear read-out (> 90 %); without it 50 %"
)
def test_prefusion_holds_products_that_separate_tokens_lack() -> None:
    joint = [_read_out(True, seed) for seed in range(3)]
    apart = [_read_out(False, seed) for seed in range(3)]
    assert min(joint) > 0.9, joint
    assert max(apart) < 0.62, apart


@pytest.mark.sheet("Frame sampler: T=100 -> 0,12,25,37,50,62,75,87; T=3 -> 0,1,2 padded with 2 to 8")
def test_frame_sampler() -> None:
    assert spread_rows(100, 8).tolist() == [0, 12, 25, 37, 50, 62, 75, 87]
    assert spread_rows(3, 8).tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    with pytest.raises(MediaError, match="no frame"):
        spread_rows(0, 8)


def test_sound_is_cut_into_eight_stretches_of_two_seconds() -> None:
    sound = np.arange(16000 * 9, dtype=np.float32)
    clips = SoundClips()(sound)
    assert clips.shape == (8, 32000)
    assert clips[:, 0].tolist() == [16000.0 * i for i in range(8)]
    short = SoundClips()(np.ones(8000, np.float32))
    assert short[:, :8000].min() == 1
    assert short[:, 8000:].max() == 0
    with pytest.raises(MediaError, match="no sample"):
        SoundClips()(np.zeros(0, np.float32))


@pytest.mark.sheet(
    "Checkpoint reader: accepts the published keys, ignores optimizer/scaler, reports missing/unexpected"
)
def test_published_checkpoint() -> None:
    state = _published_layout(32, 2, 8, 16, 24)
    config = replace(Config.tiny(), learn_head=False)
    found = AffectGPT.from_published({"model": state, "optimizer": {}, "scaler": {}, "epoch": 3}, config)
    assert found.config.image
    own = found.state_dict()
    assert len(own) == len(state)
    torch.testing.assert_close(own["model.connectors.face.weight.weight"], state["video_attention_mlp.weight"])
    torch.testing.assert_close(own["model.connectors.multi.mix.weight"], state["attention_mlp.weight"])
    key = "model.language_model.model.layers.1.mlp.down_proj.lora_B.default.weight"
    torch.testing.assert_close(own[key], state["llama_model.base_model." + key.removeprefix("model.language_")])
    with pytest.raises(ModelError, match=r"1 missing .*multi\.weigh\.bias"):
        AffectGPT.from_published({k: v for k, v in state.items() if k != "fc_att.bias"}, config)
    with pytest.raises(ModelError, match=r"1 unexpected \(video_Qformer\.x\)"):
        AffectGPT.from_published({**state, "video_Qformer.x": torch.zeros(2)}, config)
    with pytest.raises(ConfigError, match="no adapter"):
        AffectGPT.from_published({"affectgpt_proj.weight": torch.zeros(2, 2)})


def _published_layout(width: int, layers: int, rank: int, seen: int, heard: int) -> dict[str, Tensor]:
    """Random weights under the names and shapes of the public checkpoint; the adapter has rank `rank`."""
    common = max(seen, heard)
    linear = {
        "video_attention_mlp": (seen, 1), "affectgpt_proj": (seen, width), "audio_attention_mlp": (heard, 1),
        "audio_llama_proj": (heard, width), "multi_video_embs": (seen, common), "multi_audio_embs": (heard, common),
        "attention_mlp": (2 * common, common), "fc_att": (common, 2), "multi_llama_proj": (common, width),
        "image_llama_proj": (seen, width),
    }  # fmt: skip
    state = {f"{k}.weight": torch.randn(o, i) for k, (i, o) in linear.items()}
    state |= {f"{k}.bias": torch.randn(o) for k, (_, o) in linear.items()}
    half, wide = width // 2, 2 * width  # two of four heads hold keys and values in the toy base
    shapes = {"self_attn.q_proj": (width, width), "self_attn.k_proj": (width, half), "self_attn.v_proj": (width, half),
              "self_attn.o_proj": (width, width), "mlp.gate_proj": (width, wide), "mlp.up_proj": (width, wide),
              "mlp.down_proj": (wide, width)}  # fmt: skip
    for layer in range(layers):
        for name, (inner, outer) in shapes.items():
            stem = f"llama_model.base_model.model.model.layers.{layer}.{name}"
            state[f"{stem}.lora_A.default.weight"] = torch.randn(rank, inner)
            state[f"{stem}.lora_B.default.weight"] = torch.randn(outer, rank)
    return state


@pytest.mark.parametrize("fusion", ["attention", "mean", "qformer"])
def test_every_fusion_gives_its_tokens(fusion: Any) -> None:
    own = system(video_fusion=fusion, audio_fusion=fusion, multi_fusion=fusion, queries=(3, 2, 4))
    batch = own.example(2)
    asked = own.asked(own.conversations(batch, own.kinds(batch)))
    counts = [(asked["modality_ids"] == number).sum(1).tolist() for number in (1, 2, 3)]
    assert counts == [[4, 4], [2, 2], [3, 3]]
    assert torch.isfinite(own(batch)["nll"]).all()


@pytest.mark.parametrize(
    ("mode", "keys", "markers"),
    [
        ("multiface_audio_face_text", {"face", "audio", "text"}, 3),
        ("multiframe_audio_frame_text", {"frame", "audio", "text"}, 3),
        ("audio_text", {"audio", "text"}, 1),
        ("face_text", {"face", "text"}, 1),
        ("frame", {"frame"}, 1),
        ("image_text", {"image", "text"}, 1),
        ("text", {"text"}, 0),
    ],
)
def test_input_modes(mode: str, keys: set[str], markers: int) -> None:
    own = system(mode=mode)
    assert set(own.inputs()) == keys
    batch = own.example(2)
    text = own.conversations(batch, own.kinds(batch))[0]["messages"][0]["content"]
    assert text.count("Here>") == markers
    assert ("There is no audio" in text) == ("audio" not in keys)
    assert torch.isfinite(own(batch)["nll"]).all()


def test_face_and_frame_share_a_place() -> None:
    for mode in ("multiframe_audio_face_text", "audio_audio", "audio_smell"):
        with pytest.raises(ValueError, match="face or frame but not both"):
            read_mode(mode)


def test_a_missing_modality_is_dropped_by_name_and_told() -> None:
    own = system()
    batch = own.example(2)
    del batch["audio"]
    text = own.conversations(batch, own.kinds(batch))[0]["messages"][0]["content"]
    assert "<Multi>" not in text
    assert "There is no audio" in text
    assert "<Video><FaceHere></Video>" in text
    assert own.tally["branch multi dropped: there is no audio"] == 1
    with pytest.raises(ConfigError, match="face, audio, text"):
        own({"record": batch["record"]})


def test_each_record_draws_its_question() -> None:
    own = system()
    batch = own.example(200)
    torch.manual_seed(0)
    drawn = own.augment(batch, {"mix": {"description": 1.0, "ovlabel": 3.0, "valence": 5.0}})["kind"]
    assert set(drawn) == {"description", "ovlabel"}, "no clip has a valence"
    assert 25 < drawn.count("description") < 75
    assert own.kinds(batch) == ["ovlabel"] * 200
    with pytest.raises(ConfigError, match="fits no kind of the mix valence"):
        own.augment(batch, {"mix": {"valence": 1.0}})


def test_what_is_stored_is_not_the_base_and_must_fit_it(tmp_path: Any) -> None:
    own = system()
    own.save(tmp_path)
    assert not any("embed_tokens" in name or "base_layer" in name for name in own.state_dict())
    with pytest.raises(ModelError, match="hidden_size 32, this one has 48"):
        system(base="toy:48").load_weights(tmp_path)
    with pytest.raises(ConfigError, match="no precision"):
        system(precision="float33")
    with pytest.raises(ModelError, match="cannot be loaded"):
        system(base=str(tmp_path / "nothing"))


def test_schedules() -> None:
    (correct,) = system().phases()
    (published,) = system(parity="published").phases()
    assert (published.schedule, published.warmup, published.lr) == ("constant", 0.0, 1e-5)
    assert (correct.schedule, correct.warmup) == ("cosine", 1 / 60)
    assert registry.card("affectgpt").missing == "handled"

"""HiCMAE against its published formulas and checkpoint layouts, both written out independently here."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from affectus import labels
from affectus.errors import ConfigError, ModelError
from affectus.systems import registry
from affectus.systems.hicmae import Config, HiCMAE, HiCMAEPretraining


def published_layout(config: Config, stage: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the public checkpoints, written from their description."""
    d, w = config.width, config.decoder_width

    def block(prefix: str, n: int, crossed: bool) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {"attn.qkv.weight": (3 * n, n), "attn.q_bias": (n,), "attn.v_bias": (n,),
                  "attn.proj.weight": (n, n), "attn.proj.bias": (n,), "mlp.fc1.weight": (4 * n, n),
                  "mlp.fc1.bias": (4 * n,), "mlp.fc2.weight": (n, 4 * n), "mlp.fc2.bias": (n,)}  # fmt: skip
        norms = ["norm1", "norm2"]
        if crossed:
            shapes |= {"cross_attn.q.weight": (n, n), "cross_attn.kv.weight": (2 * n, n), "cross_attn.q_bias": (n,),
                       "cross_attn.v_bias": (n,), "cross_attn.proj.weight": (n, n),
                       "cross_attn.proj.bias": (n,)}  # fmt: skip
            norms += ["cross_norm1", "cross_norm2"]
        shapes |= {f"{norm}.{part}": (n,) for norm in norms for part in ("weight", "bias")}
        return {f"{prefix}.{name}": shape for name, shape in shapes.items()}

    def linear(prefix: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return {f"{prefix}.weight": shape, f"{prefix}.bias": shape[:1]}

    found: dict[str, tuple[int, ...]] = {}
    ends = {"": (3, 2, config.patch, config.patch), "_audio": (1, config.audio_patch, config.audio_patch)}
    for end, patch in ends.items():
        found |= linear(f"encoder{end}.patch_embed.proj", (d, *patch)) | linear(f"encoder{end}.norm", (d,))
        for i in range(config.depth):
            found |= block(f"encoder{end}.blocks.{i}", d, False)
        found |= linear(f"encoder_fusion.norm{end}", (d,))
        for i in range(config.fusion_depth):
            found |= block(f"encoder_fusion.blocks{end}.{i}", d, True)
        if stage == "pretrain":
            for i in range(config.decoder_depth):
                found |= block(f"decoder{end}.blocks.{i}", w, i > 0)
            found |= linear(f"decoder{end}.norm", (w,)) | linear(f"decoder{end}.head", (math.prod(patch), w))
            found |= {f"encoder_to_decoder{end}.weight": (w, d), f"mask_token{end}": (1, 1, w)}
    if stage == "finetune":
        found |= linear("fc_norm", (4 * d,)) | linear("head", (len(config.labels), 4 * d))
        found |= {"video_layer_weights": (config.depth,), "audio_layer_weights": (config.depth,)}
    return found


def random_state(layout: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in layout.items()}


class Reference:
    """The published computation on a state dict, with attention and masks by boolean selection written out."""

    def __init__(self, state: dict[str, Tensor], heads: int) -> None:
        self.state, self.heads = state, heads

    def norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias, 1e-6)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))
        weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2)

    def self_attention(self, name: str, x: Tensor, heads: int) -> Tensor:
        q, k, v = (x @ self.state[f"{name}.qkv.weight"].T).chunk(3, -1)
        q, v = q + self.state[f"{name}.q_bias"], v + self.state[f"{name}.v_bias"]
        return self.linear(f"{name}.proj", self.attend(q, k, v, heads))

    def block(self, name: str, x: Tensor, heads: int, context: Tensor | None = None) -> Tensor:
        if context is not None:
            own, other = self.norm(f"{name}.cross_norm1", x), self.norm(f"{name}.cross_norm2", context)
            q = own @ self.state[f"{name}.cross_attn.q.weight"].T + self.state[f"{name}.cross_attn.q_bias"]
            k, v = (other @ self.state[f"{name}.cross_attn.kv.weight"].T).chunk(2, -1)
            seen = self.attend(q, k, v + self.state[f"{name}.cross_attn.v_bias"], heads)
            x = x + self.linear(f"{name}.cross_attn.proj", seen)
        x = x + self.self_attention(f"{name}.attn", self.norm(f"{name}.norm1", x), heads)
        hidden = functional.gelu(self.linear(f"{name}.mlp.fc1", self.norm(f"{name}.norm2", x)))
        return x + self.linear(f"{name}.mlp.fc2", hidden)

    def table(self, count: int, width: int) -> Tensor:
        angle = np.array([[i / 10000 ** (2 * (j // 2) / width) for j in range(width)] for i in range(count)])
        angle[:, ::2], angle[:, 1::2] = np.sin(angle[:, ::2]), np.cos(angle[:, 1::2])
        return torch.tensor(angle, dtype=torch.float32)

    def embedded(self, end: str, x: Tensor) -> Tensor:
        name = f"encoder{end}.patch_embed.proj"
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        convolve = functional.conv2d if end else functional.conv3d
        x = convolve(x, weight, bias, stride=weight.shape[2:]).flatten(2).transpose(1, 2)
        return x + self.table(x.shape[1], x.shape[2])

    def layers(self, end: str, x: Tensor, depth: int) -> list[Tensor]:
        found = []
        for i in range(depth):
            x = self.block(f"encoder{end}.blocks.{i}", x, self.heads)
            found.append(self.norm(f"encoder{end}.norm", x))
        return found

    def fused(self, video: Tensor, audio: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        for i in range(depth):
            video, audio = (self.block(f"encoder_fusion.blocks.{i}", video, self.heads, audio),
                            self.block(f"encoder_fusion.blocks_audio.{i}", audio, self.heads, video))  # fmt: skip
        return self.norm("encoder_fusion.norm", video), self.norm("encoder_fusion.norm_audio", audio)

    def rebuilt(self, end: str, x: Tensor, taps: list[Tensor], mask: Tensor, heads: int) -> Tensor:
        project, token = self.state[f"encoder_to_decoder{end}.weight"], self.state[f"mask_token{end}"]
        batch, width = len(x), len(project)
        places = self.table(mask.shape[1], width).expand(batch, -1, -1)
        seen, unseen = places[~mask].reshape(batch, -1, width), places[mask].reshape(batch, -1, width)
        x = torch.cat([x @ project.T + seen, token + unseen], 1)
        for i in range(len(taps) + 1):
            context = taps[-i] @ project.T + seen if i else None
            x = self.block(f"decoder{end}.blocks.{i}", x, heads, context)
        return self.linear(f"decoder{end}.head", self.norm(f"decoder{end}.norm", x[:, -unseen.shape[1] :]))


def some_clips(config: Config, count: int = 2, seed: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    c = config
    return {"video": torch.randn(count, 3, c.frames, c.size, c.size, generator=generator),
            "audio": torch.randn(count, 1, c.audio_frames, c.mels, generator=generator)}  # fmt: skip


def test_fine_tuned_checkpoint_gives_the_published_numbers() -> None:
    config = replace(Config.tiny(), labels=("a", "b", "c"), space="")
    state = random_state(published_layout(config, "finetune"))
    system = HiCMAE.from_published({"module": {f"module.{k}": v for k, v in state.items()}}, config).eval()
    batch, ref = some_clips(config), Reference(state, config.heads)
    pooled, last = [], {}
    for end, kind in (("", "video"), ("_audio", "audio")):
        layers = ref.layers(end, ref.embedded(end, batch[kind]), config.depth)
        last[kind] = layers[-1]
        stacked = torch.stack(layers, 2).mean(1)
        pooled.append((stacked * state[f"{kind}_layer_weights"].softmax(0)[None, :, None]).sum(1))
    pooled += [x.mean(1) for x in ref.fused(last["video"], last["audio"], config.fusion_depth)]
    feature = ref.norm("fc_norm", torch.cat(pooled, -1))
    with torch.no_grad():
        outputs = system(batch)
        flat = system({**batch, "audio": batch["audio"][:, 0]})
    torch.testing.assert_close(outputs["embedding"], feature, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outputs["logits"], ref.linear("head", feature), rtol=1e-5, atol=1e-5)
    assert torch.equal(flat["logits"], outputs["logits"])


def test_pre_training_checkpoint_gives_the_published_numbers() -> None:
    config = Config.tiny()
    state = random_state(published_layout(config, "pretrain"))
    system = HiCMAEPretraining.from_published({"model": state}, config).eval()
    batch, ref = some_clips(config), Reference(state, config.heads)
    outputs = system(batch)
    last, taps, masks = {}, {}, {}
    for end, kind in (("", "video"), ("_audio", "audio")):
        masks[kind] = torch.zeros(2, config.tokens(kind), dtype=torch.bool)
        masks[kind].scatter_(1, outputs[f"{kind}_hidden"], True)
        x = ref.embedded(end, batch[kind])[~masks[kind]].reshape(2, -1, config.width)
        layers = ref.layers(end, x, config.depth)
        last[kind], taps[kind] = layers[-1], [layers[i] for i in config.taps]
    last["video"], last["audio"] = ref.fused(last["video"], last["audio"], config.fusion_depth)
    losses = system.losses(batch, outputs)
    for end, kind in (("", "video"), ("_audio", "audio")):
        wanted = ref.rebuilt(end, last[kind], taps[kind], masks[kind], config.decoder_heads)
        torch.testing.assert_close(outputs[f"{kind}_rebuilt"], wanted, rtol=1e-5, atol=1e-5)
        target = config.target(kind, batch[kind])[masks[kind]].reshape(wanted.shape)
        torch.testing.assert_close(losses[kind], (wanted - target).square().mean(), rtol=1e-5, atol=1e-5)
    total = torch.zeros(())
    for video, audio in zip(taps["video"], taps["audio"], strict=True):
        v, a = (x.mean(1) / x.mean(1).norm(dim=1, keepdim=True) for x in (video, audio))
        scores, truth = v @ a.T / 0.07, torch.arange(2)
        total = total + 0.5 * (functional.cross_entropy(scores, truth) + functional.cross_entropy(scores.T, truth))
    torch.testing.assert_close(losses["contrast"], 0.0025 * total, rtol=1e-5, atol=1e-6)
    given = system({**batch, **{f"{kind}_mask": mask for kind, mask in masks.items()}})
    torch.testing.assert_close(given["video_rebuilt"], outputs["video_rebuilt"])


def test_published_sizes_and_parameter_counts() -> None:
    with torch.device("meta"):
        for name, millions in (("base", 80.8), ("small", 45.6), ("smallest", 20.5)):
            system = HiCMAE(getattr(Config, name)())
            assert sum(p.numel() for p in system.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)
    layout = published_layout(Config(), "pretrain")
    with torch.device("meta"):
        own = {k: tuple(v.shape) for k, v in HiCMAEPretraining(Config()).state_dict().items()}
    assert own == layout


def test_sizes_are_read_off_a_checkpoint() -> None:
    config = Config(width=128, heads=2, depth=4, fusion_depth=1, decoder_width=64, decoder_heads=1, decoder_depth=3,
                    taps=(2, 3), space="ravdess8", labels=labels.space("ravdess8").labels)  # fmt: skip
    found = HiCMAE.from_published(random_state(published_layout(config, "finetune")))
    assert (found.config.width, found.config.heads, found.config.depth) == (128, 2, 4)
    assert found.labels() == config.labels
    before = HiCMAEPretraining.from_published(random_state(published_layout(config, "pretrain")))
    assert (before.config.decoder_width, before.config.decoder_depth) == (64, 3)


def test_fine_tuning_starts_from_the_pre_training_checkpoint() -> None:
    config = Config.tiny()
    state = random_state(published_layout(config, "pretrain"))
    system = HiCMAE.from_published(state, config)
    assert torch.equal(system.encoder_audio.blocks[1].attn.q_bias, state["encoder_audio.blocks.1.attn.q_bias"])
    voice = HiCMAE.from_published(state, replace(config, modalities=("audio",)))
    assert torch.equal(voice.encoder_audio.norm.weight, state["encoder_audio.norm.weight"])
    assert not any(key.startswith(("encoder.", "encoder_fusion")) for key in voice.state_dict())
    with pytest.raises(ModelError, match=r"1 unexpected \(encoder\.strange\)"):
        HiCMAE.from_published({**state, "encoder.strange": torch.zeros(1)}, config)


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_checkpoints_that_do_not_fit_are_refused(stage: str) -> None:
    config = Config.tiny()
    state = random_state(published_layout(config, stage))
    kind = registry.system_class("hicmae", stage)
    key = "encoder_fusion.blocks_audio.0.cross_attn.kv.weight"
    with pytest.raises(ModelError, match=f"1 missing .{key}"):
        kind.from_published({k: v for k, v in state.items() if k != key}, config)
    with pytest.raises(ModelError, match="1 unexpected"):
        kind.from_published({**state, "encoder.cls_token": torch.zeros(1, 1, 32)}, config)
    with pytest.raises(ConfigError, match=r"patch_embed\.proj\.weight"):
        kind.from_published({"head.weight": torch.zeros(6, 8)})

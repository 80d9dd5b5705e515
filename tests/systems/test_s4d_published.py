"""S4D: weights of public checkpoints, and an independent computation from the formulas of its sheet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from affectus.errors import ModelError
from affectus.systems.s4d import S4D, Config, S4DPretraining

TINY = Config.tiny()


def published(config: Config, system: S4D | S4DPretraining) -> dict[str, Tensor]:
    """Keys of the public checkpoints, built by name and shape from the sizes alone."""
    d = config.width
    pre = isinstance(system, S4DPretraining)

    def block(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
        inner = 4 * width
        return {f"{prefix}.norm1.weight": (width,), f"{prefix}.norm1.bias": (width,),
                f"{prefix}.attn.qkv.weight": (3 * width, width), f"{prefix}.attn.q_bias": (width,),
                f"{prefix}.attn.v_bias": (width,), f"{prefix}.attn.proj.weight": (width, width),
                f"{prefix}.attn.proj.bias": (width,), f"{prefix}.norm2.weight": (width,),
                f"{prefix}.norm2.bias": (width,), f"{prefix}.mlp.fc1.weight": (inner, width),
                f"{prefix}.mlp.fc1.bias": (inner,), f"{prefix}.mlp.fc2.weight": (width, inner),
                f"{prefix}.mlp.fc2.bias": (width,)}  # fmt: skip

    start = "encoder." if pre else ""
    p, t = config.patch, config.tubelet
    shapes: dict[str, tuple[int, ...]] = {f"{start}patch_embed.proj.weight": (d, 3, t, p, p),
                                          f"{start}patch_embed.proj.bias": (d,)}  # fmt: skip
    for i in range(config.depth):
        shapes |= block(f"{start}blocks.{i}", d)
        if not pre and i >= config.depth - config.expert_layers:
            for name in ("topkroute_linear", "noise_linear"):
                shapes |= {f"blocks.{i}.moe_layer.router.{name}.weight": (config.experts, d),
                           f"blocks.{i}.moe_layer.router.{name}.bias": (config.experts,)}  # fmt: skip
            for e in range(config.experts):
                name = f"blocks.{i}.moe_layer.experts.{e}"
                shapes |= {f"{name}.fc1.weight": (config.adapter, d), f"{name}.fc1.bias": (config.adapter,),
                           f"{name}.fc2.weight": (d, config.adapter), f"{name}.fc2.bias": (d,)}  # fmt: skip
    if pre:
        w = config.decoder_width
        shapes |= {"encoder.norm.weight": (d,), "encoder.norm.bias": (d,), "encoder_to_decoder.weight": (w, d),
                   "mask_token": (1, 1, w), "decoder.norm.weight": (w,), "decoder.norm.bias": (w,),
                   "decoder.head.weight": (3 * t * p * p, w), "decoder.head.bias": (3 * t * p * p,)}  # fmt: skip
        for i in range(config.decoder_depth):
            shapes |= block(f"decoder.blocks.{i}", w)
    else:
        shapes |= {"fc_norm.weight": (d,), "fc_norm.bias": (d,), "head.image.weight": (7, d), "head.image.bias": (7,),
                   "head.video.weight": (7, d), "head.video.bias": (7,)}  # fmt: skip
    random = torch.Generator().manual_seed(1)
    return {name: 0.1 * torch.randn(shape, generator=random) for name, shape in shapes.items()}


def reference_block(x: Tensor, w: dict[str, Tensor], heads: int) -> tuple[Tensor, Tensor]:
    """Attention branch of a published block, and the normalised tokens of its second branch; explicit softmax."""
    d = x.shape[-1]
    y = layer_norm(x, (d,), w["norm1.weight"], w["norm1.bias"], 1e-6)
    bias = torch.cat([w["attn.q_bias"], torch.zeros(d), w["attn.v_bias"]])
    q, k, v = (y @ w["attn.qkv.weight"].T + bias).view(*x.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
    mixed = ((q * (d // heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
    x = x + mixed.transpose(1, 2).reshape(x.shape) @ w["attn.proj.weight"].T + w["attn.proj.bias"]
    return x, layer_norm(x, (d,), w["norm2.weight"], w["norm2.bias"], 1e-6)


def dense(x: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
    inner = gelu(x @ w[f"{name}.fc1.weight"].T + w[f"{name}.fc1.bias"])
    return inner @ w[f"{name}.fc2.weight"].T + w[f"{name}.fc2.bias"]


def sinusoids(count: int, width: int) -> Tensor:
    angle = np.array([[i / 10000 ** (2 * (j // 2) / width) for j in range(width)] for i in range(count)])
    angle[:, 0::2], angle[:, 1::2] = np.sin(angle[:, 0::2]), np.cos(angle[:, 1::2])
    return torch.tensor(angle, dtype=torch.float32)


def test_published_fine_tuned_weights_give_the_published_numbers() -> None:
    """An independent computation with explicit loops, from the formulas of the sheet, without noise and capacity."""
    state = published(TINY, S4D(TINY))
    system = S4D.from_published({"model": state}, TINY).eval()
    clip = torch.randn(2, 3, 4, 32, 32)
    x = torch.nn.functional.conv3d(clip, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], (2, 8, 8))
    x = x.flatten(2).transpose(1, 2) + sinusoids(32, TINY.width)
    for i in range(TINY.depth):
        w = {k.removeprefix(f"blocks.{i}."): v for k, v in state.items() if k.startswith(f"blocks.{i}.")}
        x, y = reference_block(x, w, TINY.heads)
        x = x + dense(y, w, "mlp")
        if i < TINY.depth - TINY.expert_layers:
            continue
        logits = y @ w["moe_layer.router.topkroute_linear.weight"].T + w["moe_layer.router.topkroute_linear.bias"]
        for b, n in np.ndindex(*y.shape[:2]):
            best = logits[b, n].topk(TINY.chosen)
            for weight, e in zip(best.values.softmax(0), best.indices.tolist(), strict=True):
                x[b, n] += weight * dense(y[b, n], w, f"moe_layer.experts.{e}")
    pooled = layer_norm(x.mean(1), (TINY.width,), state["fc_norm.weight"], state["fc_norm.bias"], 1e-6)
    expected = pooled @ state["head.video.weight"].T + state["head.video.bias"]
    with torch.no_grad():
        torch.testing.assert_close(system({"clip": clip})["logits"], expected, rtol=0, atol=1e-5)


def test_published_pretrained_weights_rebuild_as_published() -> None:
    state = published(TINY, S4DPretraining(TINY))
    system = S4DPretraining.from_published({"module": state}, TINY).eval()
    image = torch.randn(2, 3, 32, 32)
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[0, [0, 3, 9, 15]] = mask[1, [1, 2, 3, 4]] = True
    pair = torch.stack([image, image], 2)
    x = torch.nn.functional.conv3d(pair, state["encoder.patch_embed.proj.weight"],
                                   state["encoder.patch_embed.proj.bias"], (2, 8, 8))  # fmt: skip
    x = (x.flatten(2).transpose(1, 2) + sinusoids(32, 32)[:16])[~mask].view(2, 12, 32)
    for part, depth, heads in (("encoder", TINY.depth, TINY.heads), ("decoder", 1, TINY.decoder_heads)):
        for i in range(depth):
            start = f"{part}.blocks.{i}."
            w = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
            x, y = reference_block(x, w, heads)
            x = x + dense(y, w, "mlp")
        x = layer_norm(x, (x.shape[-1],), state[f"{part}.norm.weight"], state[f"{part}.norm.bias"], 1e-6)
        if part == "encoder":
            full = state["mask_token"].expand(2, 16, 24).clone()
            full[~mask] = (x @ state["encoder_to_decoder.weight"].T).reshape(-1, 24)
            x = full + sinusoids(32, 24)[:16]
    expected = x @ state["decoder.head.weight"].T + state["decoder.head.bias"]
    with torch.no_grad():
        outputs = system({"image": image, "image_mask": mask})
    torch.testing.assert_close(outputs["image"], expected, rtol=0, atol=1e-5)


def test_checkpoints_that_do_not_fit_are_named() -> None:
    state = published(TINY, S4D(TINY))
    with pytest.raises(ModelError, match=r"1 unexpected \(blocks.0.gamma\)|unexpected"):
        S4D.from_published({**state, "blocks.0.gamma": torch.zeros(2)}, TINY)
    with pytest.raises(ModelError, match="missing"):
        S4D.from_published({k: v for k, v in state.items() if k != "fc_norm.bias"}, TINY)
    with pytest.raises(ModelError, match="pre-trained one"):
        S4D.from_published(published(TINY, S4DPretraining(TINY)), TINY)
    with pytest.raises(ModelError, match="published size"):
        S4D.from_published(state)


def test_sizes_follow_from_a_published_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("affectus.nn.vit.initialise", lambda *_: None)  # weights are loaded anyway
    with torch.device("meta"):
        mafw = S4D(replace(Config.small(), labels=tuple("abcdefghijk"), experts=4, adapter=48, expert_layers=3))
    names = (("mixture.router.score", "moe_layer.router.topkroute_linear"), ("mixture", "moe_layer"),
             ("router.noise", "router.noise_linear"))  # fmt: skip

    def exported(system: S4D) -> dict[str, Tensor]:
        found = {k.removeprefix("encoder."): torch.empty(v.shape) for k, v in system.state_dict().items()}
        for own, other in names:
            found = {k.replace(own, other): v for k, v in found.items()}
        return found

    found = S4D.from_published(exported(mafw)).config
    assert found == replace(Config.small(), space="mafw11", labels=found.labels, experts=4, adapter=48, expert_layers=3)
    assert len(found.labels) == 11


def test_parameters_of_the_published_model() -> None:
    """Encoder about 86.2 M, experts 2.38 M per block."""
    with torch.device("meta"):
        system = S4D(Config.base())
    count = {"mixture": 0, "encoder": 0}
    for name, parameter in system.named_parameters():
        if name.startswith("encoder."):
            count["mixture" if ".mixture." in name else "encoder"] += parameter.numel()
    assert count["encoder"] == pytest.approx(86.2e6, rel=2e-3)
    assert count["mixture"] / 6 == pytest.approx(2.38e6, rel=5e-3)

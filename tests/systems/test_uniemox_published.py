"""UniEmoX: weights of public checkpoints, and an independent computation from the formulas of its sheet."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, normalize

from affectus.errors import ModelError
from affectus.nn.clip import Clip, ClipSizes
from affectus.nn.losses.reconstruction import patch_target
from affectus.nn.masking import random_mask
from affectus.systems.uniemox import Config, UniEmoX, UniEmoXPretraining

TINY = Config.tiny()


#: Without CLIP: its features come with the batch.
PLAIN = replace(TINY, teacher=None)


def taught(count: int) -> dict[str, Any]:
    random = torch.Generator().manual_seed(5)
    shapes = {"image": (3, 32, 32), "person": (3, 32, 32), "teacher_image": (24,), "teacher_text": (24,)}
    return {name: torch.randn(count, *shape, generator=random) for name, shape in shapes.items()}


def published(config: Config, tuned: bool, classes: int = 8, decoder: bool = True) -> dict[str, Tensor]:
    """Keys of the public checkpoints, built by name and shape from the sizes alone."""
    d, w, p, n = config.width, config.decoder_width, config.patch, config.tokens + 1
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, d), "pos_embed": (1, n, d), "norm.weight": (d,),
                                          "patch_embed.proj.weight": (d, 3, p, p), "patch_embed.proj.bias": (d,),
                                          "norm.bias": (d,)}  # fmt: skip
    stacks = [("blocks", config.depth, d)]
    if tuned:
        shapes |= {"fc_norm.weight": (d,), "fc_norm.bias": (d,), "head.weight": (classes, d), "head.bias": (classes,)}
    elif decoder:
        stacks.append(("decoder_blocks", config.decoder_depth, w))
        shapes |= {"decoder_embed.weight": (w, d), "decoder_embed.bias": (w,), "mask_token": (1, 1, w),
                   "decoder_pos_embed": (1, n, w), "decoder_norm.weight": (w,), "decoder_norm.bias": (w,),
                   "decoder_pred.weight": (3 * p * p, w), "decoder_pred.bias": (3 * p * p,)}  # fmt: skip
    for name, depth, width in stacks:
        for i in range(depth):
            for part, shape in {"norm1": (width,), "norm2": (width,), "attn.qkv": (3 * width, width),
                                "attn.proj": (width, width), "mlp.fc1": (4 * width, width),
                                "mlp.fc2": (width, 4 * width)}.items():  # fmt: skip
                shapes |= {f"{name}.{i}.{part}.weight": shape, f"{name}.{i}.{part}.bias": shape[:1]}
    random = torch.Generator().manual_seed(2)
    return {name: 0.1 * torch.randn(shape, generator=random) for name, shape in shapes.items()}


def stack(x: Tensor, state: dict[str, Tensor], name: str, depth: int, heads: int) -> Tensor:
    """Published blocks with an explicit softmax."""
    d = x.shape[-1]
    for i in range(depth):
        w = {k.removeprefix(f"{name}.{i}."): v for k, v in state.items() if k.startswith(f"{name}.{i}.")}
        y = layer_norm(x, (d,), w["norm1.weight"], w["norm1.bias"], 1e-6)
        qkv = y @ w["attn.qkv.weight"].T + w["attn.qkv.bias"]
        q, k, v = qkv.reshape(*x.shape[:2], 3, heads, d // heads).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-2, -1) / math.sqrt(d // heads)).softmax(-1) @ v
        x = x + mixed.transpose(1, 2).reshape(x.shape) @ w["attn.proj.weight"].T + w["attn.proj.bias"]
        y = layer_norm(x, (d,), w["norm2.weight"], w["norm2.bias"], 1e-6)
        x = x + gelu(y @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"]) @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"]
    return x


def test_published_fine_tuned_weights_give_the_published_numbers() -> None:
    state = published(TINY, tuned=True)
    system = UniEmoX.from_published({"model": state}, TINY).eval()
    pixels = torch.randn(3, 3, 32, 32)
    x = torch.nn.functional.conv2d(pixels, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=8)
    x = torch.cat([state["cls_token"].expand(3, -1, -1), x.flatten(2).transpose(1, 2)], 1) + state["pos_embed"]
    x = stack(x, state, "blocks", TINY.depth, TINY.heads)[:, 1:].mean(1)
    x = layer_norm(x, (32,), state["fc_norm.weight"], state["fc_norm.bias"], 1e-6)
    with torch.no_grad():
        found = system({"image": pixels})["logits"]
    torch.testing.assert_close(found, x @ state["head.weight"].T + state["head.bias"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("parity", ["correct", "published"])
def test_published_pretrained_weights_rebuild_and_fuse_as_published(parity: Any) -> None:
    config = replace(PLAIN, parity=parity)
    state = published(config, tuned=False)
    random = torch.Generator().manual_seed(3)
    fused = {"linear.weight": torch.randn(24, 24, generator=random), "linear.bias": torch.randn(24, generator=random),
             "bn.weight": torch.rand(24, generator=random), "bn.bias": torch.rand(24, generator=random)}  # fmt: skip
    system = UniEmoXPretraining.from_published({"model": state, "att_fusion": fused}, config).eval()
    batch = taught(2)
    masks = [random_mask(2, 16, 12).as_bool() for _ in range(2)]
    with torch.no_grad():
        outputs = system({**batch, "image_mask": masks[0], "person_mask": masks[1]})
    students = []
    for name, mask in zip(("image", "person"), masks, strict=True):
        x = torch.nn.functional.conv2d(batch[name], state["patch_embed.proj.weight"],
                                       state["patch_embed.proj.bias"], stride=8)  # fmt: skip
        x = (x.flatten(2).transpose(1, 2) + state["pos_embed"][:, 1:])[~mask].view(2, 4, 32)
        first = (state["cls_token"] + state["pos_embed"][:, :1]).expand(2, -1, -1)
        x = stack(torch.cat([first, x], 1), state, "blocks", config.depth, config.heads)
        x = layer_norm(x, (32,), state["norm.weight"], state["norm.bias"], 1e-6)
        x = x @ state["decoder_embed.weight"].T + state["decoder_embed.bias"]
        students.append(x[:, 0])
        if name == "person":
            continue
        full = state["mask_token"].expand(2, 16, 24).clone()
        full[~mask] = x[:, 1:].reshape(-1, 24)
        y = stack(torch.cat([x[:, :1], full], 1) + state["decoder_pos_embed"], state, "decoder_blocks", 1, 2)
        y = layer_norm(y, (24,), state["decoder_norm.weight"], state["decoder_norm.bias"], 1e-6)
        pixels = y @ state["decoder_pred.weight"].T + state["decoder_pred.bias"]
        rows = pixels[:, 1:] if parity == "correct" else pixels[:, :1].expand(-1, 16, -1)
        torch.testing.assert_close(outputs["pixels"], rows, rtol=0, atol=1e-5)
        wrong = ((rows - patch_target(batch["image"], 8, normalise=False)) ** 2).mean(-1)
        losses = system.losses({**batch}, outputs)
        torch.testing.assert_close(losses["mae"], wrong[mask].mean(), rtol=1e-5, atol=1e-5)
    normed = [layer_norm(s, (24,), fused["bn.weight"], fused["bn.bias"]) for s in students]
    expected = torch.nn.functional.elu((normed[0] + normed[1]) @ fused["linear.weight"].T + fused["linear.bias"])
    torch.testing.assert_close(outputs["student"], expected, rtol=0, atol=1e-5)
    units = [normalize(v, dim=1) for v in (expected, batch["teacher_image"], batch["teacher_text"])]
    first, second = (normalize(100 * unit @ units[2].T, dim=1) for unit in units[:2])
    torch.testing.assert_close(losses["profile"], 1 - (first * second).sum(1).mean(), rtol=0, atol=1e-5)


def test_what_a_checkpoint_lacks_is_switched_off_or_named() -> None:
    plain = UniEmoXPretraining.from_published(published(PLAIN, tuned=False),
                                              replace(PLAIN, components=("mae",)))  # fmt: skip
    assert plain.fusion is None
    with pytest.raises(ModelError, match="no CLIP"):
        UniEmoXPretraining.from_published({"model": published(TINY, tuned=False)}, TINY)
    with pytest.raises(ModelError, match="missing"):
        UniEmoXPretraining.from_published({"model": published(PLAIN, tuned=False)}, PLAIN)  # no fusion
    state = published(TINY, tuned=True)
    with pytest.raises(ModelError, match="unexpected"):
        UniEmoX.from_published({**state, "blocks.0.ls1": torch.zeros(1)}, TINY)
    with pytest.raises(ModelError, match="published size"):
        UniEmoX.from_published(state)


def test_a_plain_mae_gives_the_encoder_under_a_fresh_head() -> None:
    state = published(TINY, tuned=False, decoder=False)
    system = UniEmoX.from_published({"model": state}, TINY)
    assert torch.equal(system.encoder.blocks[1].attn.qkv.weight, state["blocks.1.attn.qkv.weight"])
    with pytest.raises(ModelError, match="missing"):
        UniEmoX.from_published({k: v for k, v in state.items() if k != "cls_token"}, TINY)


def test_clip_comes_with_the_checkpoint_when_it_is_added() -> None:
    state, clip = published(TINY, tuned=False), Clip(ClipSizes.tiny())
    own = {k.removeprefix("vision.").removeprefix("text."): v for k, v in clip.state_dict().items()}
    config = replace(TINY, components=("mae", "similarity", "profile"))
    system = UniEmoXPretraining.from_published({"model": state, "clip": own}, config)
    assert system.teacher is not None
    assert all(torch.equal(clip.state_dict()[k], v) for k, v in system.teacher.state_dict().items())


def test_sizes_and_parameters_of_the_published_models() -> None:
    """ViT-B and ViT-L of MAE have 85.8 M and 303.3 M parameters without a head."""
    for config, millions in ((Config.base(), 85.8), (Config.large(), 303.3)):
        with torch.device("meta"):
            system = UniEmoX(config)
        count = sum(p.numel() for p in system.encoder.parameters()) + 2 * config.width
        assert count == pytest.approx(millions * 1e6, rel=1e-3)

"""S4D: what its sheet says must hold. Parity with the public checkpoint needs the file itself; see `from_published`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from affectus.corpora.readers import affectnet, dfew
from affectus.corpora.synthetic import Tiny
from affectus.errors import ConfigError, ModelError
from affectus.metrics import accuracy, macro_f1, uar
from affectus.nn.phase import Phase
from affectus.nn.vit import Block
from affectus.systems import registry
from affectus.systems.s4d import S4D, Config, S4DPretraining
from affectus.training.mixing import SourceBatches, Sources
from affectus.training.run import train

TINY = Config.tiny()
#: Published token geometry in a narrow network.
NARROW = replace(Config.base(), width=24, depth=2, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2,
                 adapter=6, expert_layers=1)  # fmt: skip


def finetuning(config: Config = TINY, seed: int = 0) -> S4D:
    torch.manual_seed(seed)
    return S4D(config)


def pretraining(config: Config = TINY, seed: int = 0) -> S4DPretraining:
    torch.manual_seed(seed)
    return S4DPretraining(config)


@pytest.mark.sheet("(2,3,16,160,160) → 800 tokens, video head; (2,3,160,160) → 100 tokens, image head")
def test_clips_and_images_give_their_tokens_and_use_their_heads() -> None:
    system = finetuning(NARROW).eval()
    clip, image = torch.randn(2, 3, 16, 160, 160), torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        assert system.encoder(system.encoder.as_clip(clip))[0].shape == (2, 800, 24)
        assert system.encoder(system.encoder.as_clip(image))[0].shape == (2, 100, 24)
        outputs = system({"clip": clip, "image": image})
        torch.testing.assert_close(outputs["logits"], system.head["video"](outputs["embedding"]))
        torch.testing.assert_close(outputs["image_logits"], system.head["image"](outputs["image_embedding"]))


@pytest.mark.sheet("an image and the same image repeated as a 2-frame clip give the same patch embeddings")
def test_an_image_is_a_clip_of_one_tubelet_at_the_positions_of_slot_zero() -> None:
    system = finetuning().eval()
    image = torch.randn(2, 3, 32, 32)
    pair = torch.stack([image, image], 2)
    embed = system.encoder.patch_embed
    assert torch.equal(embed(system.encoder.as_clip(image)), embed(pair))
    whole = pair.repeat(1, 1, 2, 1, 1)  # the full clip starts with the same tubelet
    first = embed(whole)[:, :16] + system.encoder.positions.table[:16]
    torch.testing.assert_close(first, embed(pair) + system.encoder.positions()[:, :16])


@pytest.mark.sheet("Image mask hides 90 of 100, video mask hides 760 of 800")
def test_masks_hide_the_published_numbers() -> None:
    system = pretraining(NARROW).eval()
    with torch.no_grad():
        outputs = system({"clip": torch.randn(1, 3, 16, 160, 160), "image": torch.randn(1, 3, 160, 160)})
    assert outputs["clip_hidden"].shape == (1, 760)
    assert outputs["image_hidden"].shape == (1, 90)
    assert outputs["clip"].shape == (1, 800, 1536)
    assert outputs["image"].shape == (1, 100, 1536)
    slots = outputs["clip_hidden"][0] // 100
    places = [set((outputs["clip_hidden"][0][slots == t] % 100).tolist()) for t in range(8)]
    assert any(other != places[0] for other in places), "the mask is a tube"


def cubes(clip: Tensor, patch: int = 8) -> Tensor:
    """Independent target: every 2×p×p cube normalised per channel, rows of a flattened (t, y, x, channel) cube."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    found = []
    for item in clip:
        rows = []
        for t in range(0, item.shape[1], 2):
            for y in range(0, item.shape[2], patch):
                for x in range(0, item.shape[3], patch):
                    cube = item[:, t : t + 2, y : y + patch, x : x + patch].permute(1, 2, 3, 0).reshape(-1, 3)
                    cube = cube * std + mean
                    rows.append(((cube - cube.mean(0)) / (cube.var(0) + 1e-6) ** 0.5).flatten())
        found.append(torch.stack(rows))
    return torch.stack(found)


@pytest.mark.sheet("loss over a perfect prediction is 0 and over zeros ≈ 511/512")
def test_reconstruction_loss_of_a_perfect_and_of_a_zero_prediction() -> None:
    config = replace(TINY, patch=16)
    system, clip = pretraining(config), torch.randn(2, 3, 4, 32, 32)
    target, hidden = cubes(clip, 16), torch.tensor([[0, 3, 5], [1, 2, 7]])
    assert float(system.rebuilding_loss(clip, target, hidden)) < 1e-9
    assert float(system.rebuilding_loss(clip, torch.zeros_like(target), hidden)) == pytest.approx(511 / 512, abs=1e-4)


def test_only_hidden_cubes_are_scored_and_sources_count_alike() -> None:
    system = pretraining()
    batch: dict[str, Any] = system.example(2)
    batch["clip_mask"] = torch.zeros(2, 32, dtype=torch.bool)
    batch["clip_mask"][:, ::4] = True
    outputs = system(batch)
    wrong = outputs["clip"].detach() - cubes(batch["clip"])
    expected = wrong.square().mean(-1)[batch["clip_mask"]].mean()
    found = system.losses(batch, outputs)
    torch.testing.assert_close(found["clip"].detach(), expected)
    assert set(found) == {"clip", "image"}


@pytest.mark.sheet("Router: weights sum to 1 over exactly k experts; k=E gives the weighted sum; E=1 is one adapter")
def test_a_block_with_one_expert_is_mlp_plus_one_adapter() -> None:
    """The first two halves of the line are in tests/nn/test_experts.py on the same router."""
    system = finetuning(replace(TINY, experts=1, chosen=1)).eval()
    block, x = system.encoder.blocks[-1], torch.randn(2, 5, 32)
    with torch.no_grad():
        found, _ = block.routed(x)
        y = x + block.attn(block.norm1(x))
        z = block.norm2(y)
        torch.testing.assert_close(found, y + block.mlp(z) + block.mixture.experts[0](z), rtol=0, atol=1e-6)
    routing = finetuning().train().encoder.blocks[-1].mixture.router(torch.randn(9, 32))
    assert routing.chosen.sum(1).tolist() == [TINY.chosen] * 9
    torch.testing.assert_close(routing.weights.sum(1), torch.ones(9))


@pytest.mark.sheet("With up-projections at zero a MoAE block reproduces the plain block bit for bit")
def test_zero_up_projections_leave_the_plain_block() -> None:
    block = finetuning().eval().encoder.blocks[-1]
    for expert in block.mixture.experts:
        torch.nn.init.zeros_(expert.fc2.weight)
        torch.nn.init.zeros_(expert.fc2.bias)
    plain = Block(TINY.width, TINY.heads).eval()
    plain.load_state_dict({k: v for k, v in block.state_dict().items() if not k.startswith("mixture.")})
    x = torch.randn(3, 7, TINY.width)
    with torch.no_grad():
        assert torch.equal(block.routed(x)[0], plain(x))
        assert torch.equal(block(x), plain(x))


@pytest.mark.sheet(
    "Balance loss (softmax form) equals k under uniform routing and grows when all tokens pick one expert"
)
def test_balance_loss_of_the_system_grows_when_tokens_crowd() -> None:
    """The value under exactly uniform routing is a closed form in tests/nn/test_experts.py."""
    system = finetuning().eval()
    batch = system.example(4)
    with torch.no_grad():
        spread = float(system(batch)["balance"])
        for block in system.encoder.blocks[-TINY.expert_layers :]:
            block.mixture.router.score.bias[:2] += 30.0
        crowded = float(system(batch)["balance"])
    passes = 2 * TINY.expert_layers  # clips and images, each through every mixture
    assert spread == pytest.approx(TINY.chosen * passes, rel=0.1)
    assert crowded == pytest.approx(TINY.experts * passes, rel=1e-3)  # E² · mean(f · p) with p = (1/2, 1/2, 0, 0)


@pytest.mark.sheet(
    "Joint schedule: n_v + int(0.5·n_i) steps, each from one source, same order for the same epoch number"
)
def test_the_joint_schedule() -> None:
    phase = S4D(TINY).phases()[0]
    sources = Sources({"clip": range(16 * 7 + 3), "image": range(32 * 9 + 1)})  # type: ignore[dict-item]
    batches = SourceBatches(sources, phase, seed=3)
    assert len(batches) == 7 + int(0.5 * 9)
    assert batches.plan() == SourceBatches(sources, phase, seed=3).plan()
    assert batches.plan() != SourceBatches(sources, phase, seed=4).plan()
    sizes = [len(batch) for batch in batches]
    assert sorted(set(sizes)) == [16, 32]
    assert [{16: "clip", 32: "image"}[size] for size in sizes] == batches.plan()


FERV = np.array([[1076, 57, 201, 59, 40, 33, 7], [91, 752, 228, 183, 51, 45, 43], [180, 205, 1158, 245, 71, 63, 36],
                 [56, 197, 310, 750, 81, 54, 39], [78, 63, 138, 116, 192, 17, 34], [56, 75, 98, 114, 27, 84, 13],
                 [26, 113, 89, 70, 39, 20, 74]])  # fmt: skip


@pytest.mark.sheet("Metric oracle: FERV39K log → UAR 43.12, WAR 52.07, weighted F1 0.5110, macro F1 0.4366")
def test_metric_oracle() -> None:
    truth, guess = (np.repeat(index.ravel(), FERV.ravel()) for index in np.indices(FERV.shape))
    assert uar(truth, guess) == pytest.approx(0.4312, abs=5e-5)
    assert accuracy(truth, guess) == pytest.approx(0.5207, abs=5e-5)
    assert macro_f1(truth, guess) == pytest.approx(0.4366, abs=5e-5)


def textures(random: np.random.Generator, classes: np.ndarray, moving: bool) -> Tensor:
    """Stripes of four directions; clips flicker in contrast, pictures do not. (N, 3[, 4], 32, 32)"""
    y, x = np.mgrid[0:32, 0:32] / 32
    angle = classes * np.pi / 4
    phase = random.uniform(0, 2 * np.pi, len(classes))
    wave = np.sin(2 * np.pi * 4 * (np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y)
                  + phase[:, None, None])[:, None]  # fmt: skip
    shape = (len(classes), 3, 4, 32, 32) if moving else (len(classes), 3, 32, 32)
    if moving:
        wave = wave[:, :, None] * random.uniform(0.5, 1.0, (len(classes), 1, 4, 1, 1))
    return torch.from_numpy((0.5 * wave + random.normal(0, 1.0, shape)).astype(np.float32))


def learnt(kind: str, seed: int) -> float:
    """Accuracy on clips after the same number of clip steps. Stills number two of the four textures differently."""
    random = np.random.default_rng(seed)
    names = ("a", "b", "c", "d")
    config = replace(TINY, patch=8, depth=3, labels=names, image_labels=names, space="", image_space="",
                     expert_layers=2 if kind == "moae" else 0, smoothing=0.0, capacity=2.0)  # fmt: skip
    shown, many, asked = (np.arange(n) % 4 for n in (24, 480, 200))
    clips, stills, tests = textures(random, shown, True), textures(random, many, False), textures(random, asked, True)
    conflicting = np.array([1, 0, 2, 3])[many]
    torch.manual_seed(seed)
    system = S4D(config)
    if kind == "shared":  # one head for both: the conflict reaches every weight
        system.head["image"] = system.head["video"]
    optimizer = torch.optim.AdamW(system.parameters(), 2e-3, weight_decay=0.05)
    order = torch.Generator().manual_seed(seed)
    system.train()
    for step in range(120):
        if kind != "clips" and step % 3:
            rows = torch.randint(len(many), (32,), generator=order)
            batch = {"image": stills[rows], "image_label": torch.from_numpy(conflicting)[rows]}
        else:
            rows = torch.randint(len(shown), (12,), generator=order)
            batch = {"clip": clips[rows], "label": torch.from_numpy(shown)[rows]}
        optimizer.zero_grad()
        sum(system.losses(batch, system(batch)).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    system.eval()
    with torch.no_grad():
        return float((system({"clip": tests})["logits"].argmax(1).numpy() == asked).mean())


@pytest.mark.slow
@pytest.mark.learning
@pytest.mark.sheet("MoAE joint ≥ clip-only and > shared-weights joint on clips")
def test_stills_help_clips_when_experts_can_keep_the_tasks_apart() -> None:
    found = {kind: [learnt(kind, seed) for seed in range(3)] for kind in ("clips", "shared", "moae")}
    means = {kind: float(np.mean(values)) for kind, values in found.items()}
    assert means["moae"] >= means["clips"], found
    assert means["moae"] > means["shared"], found


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
        mafw = S4D(replace(Config.small(), labels=tuple("abcdefghijk")))
    names = (("mixture.router.score", "moe_layer.router.topkroute_linear"), ("mixture", "moe_layer"),
             ("router.noise", "router.noise_linear"))  # fmt: skip

    def exported(system: S4D) -> dict[str, Tensor]:
        found = {k.removeprefix("encoder."): torch.empty(v.shape) for k, v in system.state_dict().items()}
        for own, other in names:
            found = {k.replace(own, other): v for k, v in found.items()}
        return found

    found = S4D.from_published(exported(mafw)).config
    assert found == replace(Config.small(), space="mafw11", labels=found.labels)
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


def test_pretrained_encoders_are_taken_over() -> None:
    first, second = pretraining(), finetuning(seed=1)
    left = second.initialise(first.state_dict())
    assert all(name.startswith(("fc_norm.", "head.")) or ".mixture." in name for name in left)
    assert torch.equal(first.encoder.blocks[0].attn.qkv.weight, second.encoder.blocks[0].attn.qkv.weight)


def test_layer_decay_counts_from_the_output() -> None:
    system = S4D(TINY)
    assert [system.depth(n) for n in ("head.video.weight", "fc_norm.bias", "encoder.blocks.3.norm1.weight",
                                      "encoder.blocks.0.norm1.weight", "encoder.patch_embed.proj.weight")] \
        == [0, 0, 1, 4, 5]  # fmt: skip


def test_published_parity_keeps_noise_in_evaluation() -> None:
    batch = finetuning().example(2)
    quiet, noisy = finetuning().eval(), finetuning(replace(TINY, parity="published")).eval()
    with torch.no_grad():
        assert torch.equal(quiet(batch)["logits"], quiet(batch)["logits"])
        assert not torch.equal(noisy(batch)["logits"], noisy(batch)["logits"])


def test_mixing_keeps_targets_distributions_and_changes_each_source() -> None:
    system = finetuning()
    batch = system.example(6)
    torch.manual_seed(0)
    mixed = system.augment(batch, {"pictures": True, "mixup": 0.8, "cutmix": 1.0})
    for key, target in (("clip", "label"), ("image", "image_label")):
        assert mixed[key].shape == batch[key].shape
        assert not torch.equal(mixed[key], batch[key])
        torch.testing.assert_close(mixed[target].sum(1), torch.ones(6))
    assert set(system.losses(mixed, system(mixed))) == {"clip", "image", "balance"}
    assert torch.equal(system.augment(batch, {})["clip"], batch["clip"])


@pytest.mark.parametrize("shape", [(2, 3, 3, 32, 32), (2, 1, 4, 32, 32), (2, 3, 4, 16, 32), (2, 3, 24, 24)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    key = "image" if len(shape) == 4 else "clip"
    with pytest.raises(ConfigError, match="shape"):
        finetuning()({key: torch.zeros(shape)})


def test_short_clips_repeat_their_last_picture() -> None:
    spec = S4D(TINY).inputs()["clip"]
    frames = [np.full((40, 40, 3), level, np.uint8) for level in (10, 200)]
    found = spec(frames)
    assert found.shape == (3, 4, 32, 32)
    assert np.array_equal(found[:, 1], found[:, 3])
    assert not np.array_equal(found[:, 0], found[:, 1])


def test_pictures_alone_are_decoded_by_the_image_head() -> None:
    system = finetuning().eval()
    with torch.no_grad():
        found = system.decode(system({"image": system.example(2)["image"]}))
    assert found[0].space == "affectnet7"
    assert found[0].labels == TINY.image_labels


def test_a_joint_run_on_two_published_layouts(tmp_path: Path) -> None:
    """DFEW clips (fold 1 kept out) with AffectNet stills (contempt left out, classes balanced)."""
    dfew.write_tiny(Tiny(tmp_path / "dfew"))
    affectnet.write_tiny(Tiny(tmp_path / "affectnet"))
    recipe = tmp_path / "joint.yaml"
    recipe.write_text("""
model: s4d
title: joint
corpora: {dfew: clips, affectnet: stills}
accept_leaks: {media: drawn faces of a test may be equal}
options:
  config: tiny
  column: label:dfew7
  fold: 1
  validation: 0.25
  source: clip
  sources: {image: {corpus: affectnet, column: "label:affectnet8", train: train, balanced: true}}
phases:
  - {name: joint, epochs: 1, lr: 0.001, batch_size: 4, options: {shares: {image: 0.5}, batch_sizes: {image: 2}}}
""")
    result = train(recipe, {"dfew": tmp_path / "dfew", "affectnet": tmp_path / "affectnet"}, tmp_path / "run")
    assert result is not None
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert "loss/image" in log
    assert "loss/clip" in log
    assert registry.load("s4d", tmp_path / "run" / "model").config == TINY


def test_phases_are_those_of_the_paper() -> None:
    assert isinstance(phase := S4D(TINY).phases()[0], Phase)
    assert (phase.epochs, phase.lr, phase.layer_decay, phase.betas) == (100, 2e-5, 0.75, (0.9, 0.999))
    assert S4DPretraining(TINY).phases()[0].betas == (0.9, 0.95)

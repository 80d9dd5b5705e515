"""PerceptCLIP: its acceptance lines, the published layout, the other backbones, and bad input.

The published layout is built by name and shape at a small size: the public files carry no licence.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from affectus import assets
from affectus.corpora.synthetic_pictures import coloured
from affectus.errors import ConfigError, MediaError, ModelError
from affectus.features.inputs import CLIP_STATISTICS, standardise
from affectus.metrics import srcc
from affectus.nn.clip import ClipSizes, ClipVision
from affectus.nn.lora import adapter_layers, merged
from affectus.nn.losses.correlation import pearson, pearson_loss
from affectus.systems import registry
from affectus.systems.base import Batch, System
from affectus.systems.perceptclip import QUALITY_RANGE, Config, PerceptClip, SharedPerceptClip
from affectus.systems.prediction import predict
from affectus.training.optimisation import select_parameters
from affectus.training.recipe import Recipe
from affectus.training.system_run import build_system

TINY = Config.tiny()


def build(kind: Any = PerceptClip, seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(seed)
    return kind(replace(TINY, **changes)).eval()


def train(system: System, batch: Batch, steps: int, rate: float = 3e-3, size: int = 32, seed: int = 0) -> None:
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW([p for p in system.parameters() if p.requires_grad], rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    system.train()
    for _ in range(steps):
        rows = torch.randperm(len(batch["image"]))[:size]
        part = {k: v[rows] for k, v in batch.items()}
        optimizer.zero_grad()
        torch.stack(list(system.losses(part, system(part)).values())).sum().backward()
        optimizer.step()
        schedule.step()
    system.eval()


def spearman(system: System, batch: Batch) -> float:
    with torch.no_grad():
        return float(srcc(batch["values"][:, 0].numpy(), system(batch)["values"][:, 0].numpy()))


@pytest.mark.sheet(
    "Trainable counts equal the numbers for ViT-L/14; with B=0 the adapted encoder equals plain CLIP to 1e-6"
)
@pytest.mark.parametrize(("config", "count"), [(Config.memorability(), 2_884_609), (Config(), 2_886_408)])
def test_published_parameter_counts(config: Config, count: int) -> None:
    with torch.device("meta"):
        system = PerceptClip(config)
    select_parameters(system, system.phases()[0])
    trained = {name: p.numel() for name, p in system.named_parameters() if p.requires_grad}
    assert sum(trained.values()) == count
    assert sum(n for name, n in trained.items() if "lora_" in name) == 2_359_296


@pytest.mark.sheet(
    "Trainable counts equal the numbers for ViT-L/14; with B=0 the adapted encoder equals plain CLIP to 1e-6"
)
def test_untrained_adapters_change_nothing() -> None:
    system = build()
    plain = ClipVision(TINY.clip).eval()
    state = {k.replace(".base_layer", ""): v for k, v in system.encoder.state_dict().items() if "lora_" not in k}
    plain.load_state_dict(state)
    pixels = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(system.encoder(pixels), plain(pixels), rtol=0, atol=1e-6)


@pytest.mark.sheet("Merging LoRA into the weights changes outputs by less than 1e-5 in eval mode.")
def test_merged_adapters_give_the_same_outputs() -> None:
    system = build(lora_dropout=0.1)
    for layer in adapter_layers(system):
        torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
    batch = system.example(4)
    with torch.no_grad():
        apart = system(batch)["logits"]
        assert not torch.allclose(apart, build()(batch)["logits"], atol=1e-3), "the adapters do something"
        with merged(system):
            torch.testing.assert_close(system(batch)["logits"], apart, rtol=0, atol=1e-5)
        torch.testing.assert_close(system(batch)["logits"], apart, rtol=0, atol=1e-5)


@pytest.mark.sheet("p=[1,2,3,4], y=[2,1,4,3] -> r=0.6, L=0.2; affine maps keep or mirror L; gradient sums to zero")
def test_correlation_loss() -> None:
    p, y = torch.tensor([[1.0], [2], [3], [4]], requires_grad=True), torch.tensor([[2.0], [1], [4], [3]])
    loss = pearson_loss(p, y)
    assert float(pearson(p, y).detach()) == pytest.approx(0.6, abs=1e-6)
    assert float(loss.detach()) == pytest.approx(0.2, abs=1e-6)
    assert float(pearson_loss(3 * p - 7, y).detach()) == pytest.approx(0.2, abs=1e-6)
    assert float(pearson_loss(-2 * p + 1, y).detach()) == pytest.approx(0.8, abs=1e-6)
    loss.backward()
    assert p.grad is not None
    assert float(p.grad.sum()) == pytest.approx(0, abs=1e-6)
    assert float(p.grad.abs().sum()) > 0.01


@pytest.mark.sheet("Spearman with ties equals the average-rank definition ([1,2,2,3] vs [1,2,3,4] -> 0.9487).")
def test_spearman_with_ties() -> None:
    assert srcc([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(0.9487, abs=5e-5)


def out_of_focus(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures at two degrees of blur each, their hue classes, and the blur of the first in [-1, 1]."""
    random = np.random.default_rng(seed)
    hues, blur = random.integers(0, 8, count), random.uniform(0, 1, (2, count))

    def shown(hue: int, level: float) -> np.ndarray:
        picture = cv2.GaussianBlur(coloured(hue / 8, random, 32), (0, 0), 0.3 + 4 * level)
        return standardise(picture, CLIP_STATISTICS)

    first, second = (torch.from_numpy(np.stack([shown(h, b) for h, b in zip(hues, row, strict=True)])) for row in blur)
    return first, second, torch.from_numpy(hues), torch.from_numpy(1 - 2 * blur[:1].T).float()


def blind_tower(seed: int) -> dict[str, Tensor]:
    """A tower that tells hues and was taught to give the same feature whatever the blur, in transformers' layout."""
    system = build(seed=seed, tuning="full", clip=replace(TINY.clip, patch=8))
    first, second, label, _ = out_of_focus(256, seed)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(system.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, 150)
    system.train()
    for _ in range(150):
        rows = torch.randperm(256)[:48]
        both = system({"image": torch.cat([first[rows], second[rows]])})
        near, far = both["embedding"].chunk(2)
        spread = both["embedding"].var(0).mean().detach() + 1e-3
        hue = functional.cross_entropy(both["logits"], label[rows].repeat(2))
        optimizer.zero_grad()
        (hue + 0.1 * functional.mse_loss(near, far) / spread).backward()
        torch.nn.utils.clip_grad_norm_(system.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    assert float(hue.detach()) < 0.3, "the stand-in for pre-training did not learn its own task"
    state = {k.removeprefix("encoder."): v for k, v in system.state_dict().items() if k.startswith("encoder.")}
    return {k: v.clone() for k, v in state.items()}


@pytest.mark.sheet(
    "LoRA+MLP beats frozen+MLP in SROCC by >=0.05 on blur level after a blur-invariant pre-training (3 seeds)."
)
@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_adapters_learn_what_a_frozen_tower_does_not_see(seed: int) -> None:
    tower = blind_tower(seed)
    pictures, _, _, blur = out_of_focus(256, seed + 50)
    held, _, _, truth = out_of_focus(128, seed + 90)
    found = {}
    for tuning in ("lora", "frozen"):
        system = build(seed=seed, task="quality", tuning=tuning, clip=replace(TINY.clip, patch=8))
        system.initialise(tower)
        train(system, {"image": pictures, "values": blur}, 200, rate=1e-2, seed=seed)
        found[tuning] = spearman(system, {"image": held, "values": truth})
    assert found["lora"] >= found["frozen"] + 0.05, found


@pytest.mark.sheet(
    "Two stages (2,000 and 60 samples, two monotone scales) beat training on the small set by >=0.05 Spearman."
)
@pytest.mark.learning
@pytest.mark.slow
def test_a_shared_first_stage_helps_a_small_set() -> None:
    shared = build(SharedPerceptClip, task="memorability", datasets=("first", "second"))
    every = shared.example(4000, seed=3)
    large = torch.arange(0, 4000, 2)
    small = torch.arange(1, 121, 2)
    held = torch.arange(1001, 1601, 2)
    assert len(small) == 60
    both = {k: v[torch.cat([large, small.repeat(8)])] for k, v in every.items()}
    train(shared, both, 250)
    own = {k: every[k][small] for k in ("image", "values")}
    test = {k: every[k][held] for k in ("image", "values")}
    found = []
    for start in (shared.state_dict(), None):
        system = build(task="memorability", datasets=("second",))
        if start is not None:
            system.initialise(start)
        train(system, own, 60, rate=1e-3)
        found.append(spearman(system, test))
    assert found[0] >= found[1] + 0.05, found


def published_state(outputs: int, sizes: ClipSizes, rank: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """Random weights by the names of the public files."""
    random = torch.Generator().manual_seed(seed)

    def new(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random) * 0.1

    width, at = sizes.width, "model.base_model.model."
    places = (sizes.image // sizes.patch) ** 2 + 1
    state = {at + "embeddings.class_embedding": new(width),
             at + "embeddings.position_embedding.weight": new(places, width),
             at + "embeddings.patch_embedding.weight": new(width, 3, sizes.patch, sizes.patch),
             "proj.weight": new(sizes.projection, width)}  # fmt: skip

    def layer(name: str, rows: int, columns: int | None = None) -> None:
        state[name + ".weight"] = 1 + new(rows) if columns is None else new(rows, columns)
        state[name + ".bias"] = new(rows)

    for name in ("pre_layrnorm", "post_layernorm"):
        layer(at + name, width)
    for i in range(sizes.layers):
        block = f"{at}encoder.layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj"):
            layer(f"{block}self_attn.{name}.base_layer", width, width)
            state[f"{block}self_attn.{name}.lora_A.default.weight"] = new(rank, width)
            state[f"{block}self_attn.{name}.lora_B.default.weight"] = new(width, rank)
        layer(block + "self_attn.out_proj", width, width)
        layer(block + "layer_norm1", width)
        layer(block + "layer_norm2", width)
        layer(block + "mlp.fc1", 4 * width, width)
        layer(block + "mlp.fc2", width, 4 * width)
    layer("mlp.fc1", 32, sizes.projection)
    layer("mlp.fc2", 16, 32)
    layer("mlp.fc3", outputs, 16)
    return state


SMALL = ClipSizes(image=32, patch=16, width=64, layers=2, heads=1, projection=48)


@pytest.mark.sheet("Published state dicts load strictly with the key layout below.")
@pytest.mark.parametrize(("outputs", "task"), [(8, "emotion"), (1, "memorability")])
def test_published_layout_gives_the_published_numbers(openai_clip: Any, outputs: int, task: str) -> None:
    state = published_state(outputs, SMALL)
    system = PerceptClip.from_published(state).eval()
    assert (system.config.task, system.config.rank, system.config.hidden) == (task, 4, (32, 16))
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        features = openai_clip.image(pixels, openai_names(state, scale=8 / 4), SMALL.patch, SMALL.heads)
        wanted = features
        for name in ("fc1", "fc2", "fc3"):
            wanted = wanted @ state[f"mlp.{name}.weight"].T + state[f"mlp.{name}.bias"]
            wanted = wanted.relu() if name != "fc3" else wanted
        found = system({"image": pixels})
    torch.testing.assert_close(found["logits" if outputs == 8 else "values"], wanted, rtol=1e-5, atol=1e-5)


def openai_names(state: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The public file with its adapters added to the weights, under the names of the independent CLIP."""
    at = "model.base_model.model."
    own = {k.removeprefix(at): v for k, v in state.items() if k.startswith(at)}
    named = {"visual.class_embedding": own["embeddings.class_embedding"], "visual.proj": state["proj.weight"].T,
             "visual.positional_embedding": own["embeddings.position_embedding.weight"],
             "visual.conv1.weight": own["embeddings.patch_embedding.weight"]}  # fmt: skip
    for kind in ("weight", "bias"):
        named[f"visual.ln_pre.{kind}"] = own[f"pre_layrnorm.{kind}"]
        named[f"visual.ln_post.{kind}"] = own[f"post_layernorm.{kind}"]
        for i in range(SMALL.layers):
            old, new = f"encoder.layers.{i}.", f"visual.transformer.resblocks.{i}."
            stacked = []
            for part in ("q_proj", "k_proj", "v_proj"):
                layer = f"{old}self_attn.{part}."
                low = own[layer + "lora_B.default.weight"] @ own[layer + "lora_A.default.weight"]
                stacked.append(own[f"{layer}base_layer.{kind}"] + (scale * low if kind == "weight" else 0))
            named[f"{new}attn.in_proj_{kind}"] = torch.cat(stacked)
            for theirs, ours in (("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"),
                                 ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"),
                                 ("mlp.c_proj", "mlp.fc2")):  # fmt: skip
                named[f"{new}{theirs}.{kind}"] = own[f"{old}{ours}.{kind}"]
    return named


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mlp.fc3.bias": None}, "mlp.fc3.bias"),
        ({"other.weight": torch.zeros(1)}, "other.weight"),
        ({"proj.weight": None}, "visual_projection"),
        (
            {"model.base_model.model.encoder.layers.1.self_attn.q_proj.lora_A.default.weight": torch.zeros(3, 64)},
            "shape",
        ),
    ],
)
def test_wrong_published_files_are_named(change: dict[str, Any], message: str) -> None:
    state = {k: v for k, v in (published_state(8, SMALL) | change).items() if v is not None}
    with pytest.raises(ModelError, match=message):
        PerceptClip.from_published(state)


@pytest.mark.sheet(
    "15-crop scoring with a fixed seed is bit-identical twice; its variance over seeds is below single-crop's."
)
def test_many_crops_are_repeatable_and_steadier() -> None:
    system = build(task="quality", crops=15)
    batch = system.example(6, seed=2)
    assert batch["image"].shape == (6, 3, 64, 48)

    def scores(crops: int, seed: int) -> Tensor:
        system.config = replace(system.config, crops=crops, crop_seed=seed)
        with torch.no_grad():
            return system(batch)["values"][:, 0]

    assert torch.equal(scores(15, 3407), scores(15, 3407))
    spread = {n: torch.stack([scores(n, seed) for seed in range(20)]).var(0).mean() for n in (1, 15)}
    assert 0 < spread[15] < spread[1] / 3


def test_quality_is_shown_from_nought_to_one() -> None:
    system = build(task="quality")
    rows = torch.tensor([[QUALITY_RANGE[0]], [sum(QUALITY_RANGE) / 2], [9.0]])
    shown = [float(p.scores[0]) for p in system.decode({"values": rows})]
    assert shown == pytest.approx([0, 0.5, 1])
    assert system.decode({"values": rows})[0].labels == ("quality",)


@pytest.mark.parametrize("backbone", ["clip", "efficientnet-tiny"])
@pytest.mark.parametrize("tuning", ["lora", "frozen", "full"])
def test_what_learns_under_each_tuning(backbone: str, tuning: str) -> None:
    system = build(backbone=backbone, tuning=tuning, task="dimensions", first_block=1)
    select_parameters(system, system.phases()[0])
    names = [name for name, p in system.named_parameters() if p.requires_grad]
    kinds = {"mlp" if n.startswith("mlp.") else "lora" if "lora_" in n else "encoder" for n in names}
    assert kinds == {"lora": {"mlp", "lora"}, "frozen": {"mlp"}, "full": {"mlp", "encoder"}}[tuning]
    if backbone != "clip" and tuning == "lora":
        assert not any(n.startswith("encoder.blocks.0.") for n in names), "adapters start at the first block asked for"


def test_a_frozen_trunk_keeps_its_statistics() -> None:
    system = build(backbone="efficientnet-tiny", task="dimensions")
    before = {k: v.clone() for k, v in system.state_dict().items() if "running" in k}
    train(system, system.example(16), 2)
    assert before
    assert all(torch.equal(system.state_dict()[k], v) for k, v in before.items())


@pytest.mark.assets
def test_pretrained_trunk_is_loaded_once(tmp_path: Path) -> None:
    if not assets.available("efficientnet-lite0"):
        pytest.skip("efficientnet-lite0 is not in the cache")
    config = replace(TINY, backbone="efficientnet-lite0", task="dimensions", pretrained=True, rank=2, first_block=14)
    system = PerceptClip(config).eval()
    assert not system.config.pretrained
    again = registry.load("perceptclip", system.save(tmp_path))
    batch = system.example(1)
    with torch.no_grad():
        assert torch.equal(again(batch)["values"], system(batch)["values"])


def test_losses_of_scores() -> None:
    outputs = {"values": torch.tensor([[0.1], [0.5], [0.2]])}
    batch = {"values": torch.tensor([[0.2], [0.4], [0.9]])}
    assert float(build(task="memorability").losses(batch, outputs)["memorability"]) == pytest.approx(0.17, abs=1e-6)
    assert float(build(task="quality").losses(batch, outputs)["quality"]) == pytest.approx(
        float(pearson_loss(outputs["values"], batch["values"]))
    )


def test_shared_stage_reads_each_item_with_its_own_head() -> None:
    system = build(SharedPerceptClip, task="memorability")
    batch = system.example(4)
    with torch.no_grad():
        found = system(batch)["values"]
        features = system.encoder(batch["image"])
        wanted = torch.stack([list(system.heads.values())[i](f) for i, f in zip([0, 1, 0, 1], features, strict=True)])
    torch.testing.assert_close(found, wanted)
    assert set(system.losses(batch, {"values": found})) == {"first", "second"}
    only = {k: v[::2] for k, v in batch.items()}
    assert set(system.losses(only, system(only))) == {"first"}


def test_second_stage_takes_the_head_of_its_dataset() -> None:
    shared = build(SharedPerceptClip, seed=1, task="memorability")
    system = build(task="memorability", datasets=("second",))
    assert system.initialise(shared.state_dict()) == []
    assert torch.equal(system.mlp.fc1.weight, shared.heads["second"].fc1.weight)


def test_start_from_clip_weights(openai_clip: Any) -> None:
    system = build()
    clip = openai_clip.state(TINY.clip)
    assert all("lora_" in name or name.startswith("mlp.") for name in system.initialise(clip))
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        wanted = openai_clip.image(pixels, clip, 16, 2)
        torch.testing.assert_close(system.encoder(pixels), wanted, rtol=1e-5, atol=1e-5)


def test_a_missing_start_is_named(tmp_path: Path) -> None:
    recipe = Recipe(model="perceptclip", title="t", corpora={"synthetic": "s"},
                    options={"config": "tiny", "start": str(tmp_path / "clip-vit-large-patch14")})  # fmt: skip
    with pytest.raises(ConfigError, match=r"clip-vit-large-patch14.model\.safetensors: does not exist"):
        build_system(recipe)
    save_file({k: v.contiguous() for k, v in build().state_dict().items()}, tmp_path / "model.safetensors")
    recipe.options["start"] = str(tmp_path)
    assert torch.equal(build_system(recipe).state_dict()["mlp.fc1.bias"], build().mlp.fc1.bias)


def test_bad_input_is_named() -> None:
    with pytest.raises(ConfigError, match=r"image.*\(2, 1, 32, 32\)"):
        build()({"image": torch.zeros(2, 1, 32, 32)})
    with pytest.raises(ConfigError, match="image: is missing"):
        build()({})
    with pytest.raises(ValueError, match="size 224 is not that of the tower"):
        replace(TINY, size=224)
    with pytest.raises(ValueError, match="task 'beauty'"):
        replace(TINY, task="beauty")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hold no square"):
        replace(TINY, task="quality", tall=(20, 40))
    with pytest.raises(ConfigError, match="no package holds CLIP's weights"):
        build(pretrained=True)
    with pytest.raises(MediaError, match="RGB"):
        build(task="quality").inputs()["image"](np.zeros((4, 4), np.uint8))
    found = list(
        predict(build(), [{"id": "text", "text": "no picture"}, {"id": "p", "image": np.zeros((9, 9, 3), "u1")}])
    )
    assert "image" in found[0].error
    assert found[1].prediction is not None

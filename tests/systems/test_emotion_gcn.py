"""Emotion-GCN against its sheet: label graph, shapes, concordance, weights, published checkpoints, and what valence and
arousal teach about rare classes.

The published accuracy needs AffectNet and the checkpoints of a private drive; it is not shown here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from affectus import corpora
from affectus.errors import ConfigError, MediaError, ModelError
from affectus.features.inputs import ImageInput
from affectus.nn.graph import label_correlation, propagation
from affectus.nn.losses.concordance import concordance
from affectus.systems.emotion_gcn import AFFECTNET_COUNTS, Config, EmotionGCN

CLASSES = 7


@pytest.mark.sheet("From the correlation rows the builder returns exactly the A listed; row sums 1; Â = Aᵀ to 1e-7")
def test_published_graph() -> None:
    graph = Config().graph()
    expected = np.diag(np.full(9, 0.5))
    neutral, happy, sad, surprise, fear, disgust, anger, valence, arousal = range(9)
    expected[valence, [neutral, happy, sad, fear, disgust, anger]] = 1 / 12
    expected[arousal, [neutral, sad, surprise, fear, disgust, anger]] = 1 / 12
    expected[happy, valence] = expected[surprise, arousal] = 0.5
    for name in (neutral, sad, fear, disgust, anger):
        expected[name, [valence, arousal]] = 0.25
    np.testing.assert_allclose(graph, expected, atol=1e-12)
    np.testing.assert_allclose(graph.sum(1), 1)
    edges = propagation(torch.from_numpy(graph))
    torch.testing.assert_close(edges, torch.from_numpy(graph.T), rtol=0, atol=1e-7)


@pytest.mark.sheet("Shapes: (2,3,227,227) → (2,7), (2,2); (2,3,112,112) with pool 3 works; GCN output 9×1024")
@pytest.mark.parametrize("config", [Config(), Config(size=112), Config.bregnext()])
def test_published_shapes(config: Config) -> None:
    small = replace(config, blocks=(1, 1, 1, 1) if config.backbone == "densenet" else (1, 1, 1), growth=4, channels=8)
    system = EmotionGCN(small).eval()
    batch = {"face": torch.randn(2, 3, config.size, config.size)}
    with torch.no_grad():
        outputs = system(batch)
    assert outputs["logits"].shape == (2, 7)
    assert outputs["values"].shape == (2, 2)


def test_published_widths() -> None:
    densenet, bregnext = EmotionGCN(Config()), EmotionGCN(Config.bregnext())
    with torch.no_grad():
        assert densenet.classifiers().shape == (9, 1024)
        assert bregnext.classifiers().shape == (9, 128)
    backbone = sum(p.numel() for p in densenet.backbone.parameters())
    assert backbone == 6_953_856  # DenseNet-121 without its classifier


@pytest.mark.sheet("Replacing Â by the identity makes every classifier depend on its own word only")
def test_without_edges_words_are_alone() -> None:
    system = EmotionGCN(Config.tiny())
    for alone in (True, False):
        if alone:
            system.A.copy_(torch.eye(9))
        else:
            system.A.copy_(torch.from_numpy(system.config.graph()))
        for row in range(9):
            words = system.words.clone().requires_grad_()
            system.classifiers(words)[row].sum().backward()
            assert words.grad is not None
            reached = {int(i) for i in torch.nonzero(words.grad.abs().sum(1))[:, 0]}
            assert (reached == {row}) is alone


@pytest.mark.sheet("CCC known values: identical 1 and (N−1)/N; y+1 against y with unit variance 2/3; constant 0")
def test_concordance_values() -> None:
    torch.manual_seed(0)
    y = torch.randn(35, 1, dtype=torch.float64)
    y = (y - y.mean()) / y.std(unbiased=False)
    assert concordance(y, y).item() == pytest.approx(1)
    assert concordance(y, y, "mixed").item() == pytest.approx(34 / 35)
    assert concordance(y + 1, y).item() == pytest.approx(2 / 3)
    assert concordance(torch.zeros_like(y), y).item() == 0
    batch = {"values": y.repeat(1, 2).float()}
    outputs = {"logits": torch.zeros(35, 7), "values": batch["values"]}
    for parity, expected in (("correct", 0.0), ("published", 1 / 35)):
        system = EmotionGCN(replace(Config.tiny(), parity=parity))  # type: ignore[arg-type]
        assert system.losses(batch, outputs)["values"].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.sheet("Class weights: disgust 1, happy 0.02829, neutral 0.05079")
def test_class_weights() -> None:
    weights = EmotionGCN(replace(Config.tiny(), counts=AFFECTNET_COUNTS)).weights
    assert weights[[5, 1, 0]].tolist() == pytest.approx([1, 0.02829, 0.05079], abs=5e-6)
    system = EmotionGCN(Config.tiny())
    batch = system.example(8)
    outputs = system(batch)
    expected = functional.cross_entropy(outputs["logits"], batch["label"], weights)
    torch.testing.assert_close(system.losses(batch, outputs)["class"], expected)
    unknown = {**batch, "label": torch.where(torch.arange(8) < 4, batch["label"], -1)}
    first = functional.cross_entropy(outputs["logits"][:4], batch["label"][:4], weights)
    torch.testing.assert_close(system.losses(unknown, outputs)["class"], first)


@pytest.mark.sheet("Spearman builder on synthetic labels reproduces scipy's rho")
def test_correlation_of_synthetic_labels() -> None:
    stats = pytest.importorskip("scipy.stats")
    batch = EmotionGCN(Config.tiny()).example(70)
    labels, values = batch["label"].numpy(), batch["values"].numpy()
    expected = stats.spearmanr(np.column_stack([np.eye(7)[labels], values])).statistic
    np.testing.assert_allclose(label_correlation(labels, values, 7), expected, atol=1e-12)


@pytest.mark.sheet("Swapping in a 128-d backbone only changes the second graph layer")
def test_backbones_share_the_graph() -> None:
    shapes = [
        {k: tuple(v.shape) for k, v in EmotionGCN(c).state_dict().items() if not k.startswith("backbone.")}
        for c in (Config(), Config.bregnext())
    ]
    assert {k for k in shapes[0] if shapes[0][k] != shapes[1][k]} == {"gc2.weight"}
    assert shapes[1]["gc2.weight"] == (512, 128)


def scattered(count: int, seed: int, labelled: tuple[int, ...] | None) -> tuple[dict[str, Tensor], np.ndarray]:
    """Small pictures whose red-green balance shows valence and whose blueness shows arousal, under shade and grain.

    Classes are sectors of the plane; `labelled` says how many items of each class keep their label.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    angles = 2 * np.pi * labels / CLASSES
    values = 0.75 * np.stack([np.cos(angles), np.sin(angles)], 1) + random.normal(0, 0.08, (count, 2))
    y, x = np.mgrid[-1:1:12j, -1:1:12j]
    spec, pictures = ImageInput(12, of="face"), []
    for valence, arousal in values:
        across, down, whole = random.uniform(-1, 1, 3)
        shade = 120 + 40 * across * x + 40 * down * y + 30 * whole
        tint = 15 * (valence * np.array([1, -1, 0]) + arousal * np.array([-0.5, -0.5, 1]))
        picture = shade[..., None] + tint + random.normal(0, 20, (12, 12, 3))
        pictures.append(spec(picture.clip(0, 255).astype(np.uint8)))
    known = labels.copy()
    if labelled is not None:
        for k in range(CLASSES):
            known[np.flatnonzero(labels == k)[labelled[k] :]] = -1
    batch = {"face": np.stack(pictures), "label": known, "values": values.astype(np.float32)}
    return {key: torch.from_numpy(value) for key, value in batch.items()}, labels


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.sheet(
    "a rare class predictable from V/A: graph multi-task beats single-task on its recall with few labels"
)
def test_valence_and_arousal_teach_a_rare_class() -> None:
    """Against the same network taught classes alone: two labels of the rare class, eight of the others."""
    rare, few = 4, (8, 8, 8, 8, 2, 8, 8)
    _, labels = scattered(700, 0, None)
    train, _ = scattered(700, 0, None)
    rho = tuple(map(tuple, label_correlation(labels, train["values"].numpy(), CLASSES)[CLASSES:].tolist()))
    config = replace(Config.tiny(), size=12, backbone="bregnext", blocks=(1, 1), channels=8, counts=few, hidden=128,
                     word_width=300, correlation=rho)  # fmt: skip
    recall: dict[bool, list[float]] = {True: [], False: []}
    for seed in range(3):
        (train, _), (test, truth) = scattered(630, seed, few), scattered(350, seed + 77, None)
        with_label, without = (torch.nonzero((train["label"] >= 0) == flag)[:, 0] for flag in (True, False))
        for values, found in recall.items():
            torch.manual_seed(seed)
            system = EmotionGCN(config)
            optimizer = torch.optim.AdamW(system.parameters(), 1e-2, weight_decay=0.01)
            draw = torch.Generator().manual_seed(seed)
            for _ in range(200):
                rows = with_label[torch.randperm(len(with_label), generator=draw)[:24]]
                if values:
                    rows = torch.cat([rows, without[torch.randperm(len(without), generator=draw)[:40]]])
                part = {k: v[rows] for k, v in train.items() if values or k != "values"}
                optimizer.zero_grad()
                torch.stack(list(system.losses(part, system(part)).values())).sum().backward()
                optimizer.step()
            system.eval()
            with torch.no_grad():
                guess = system(test)["logits"].argmax(1).numpy()
            found.append(float((guess[truth == rare] == rare).mean()))
    assert np.mean(recall[True]) > np.mean(recall[False]) + 0.05, recall


def norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean, var, weight, bias = (state[f"{name}.{p}"].view(1, -1, 1, 1)
                               for p in ("running_mean", "running_var", "weight", "bias"))  # fmt: skip
    return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias


def dense_reference(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """DenseNet features straight from the published names."""

    def unit(prefix: str, number: str, x: Tensor, padding: int) -> Tensor:
        weight = state[f"{prefix}.conv{number}.weight"]
        return functional.conv2d(functional.relu(norm(state, f"{prefix}.norm{number}", x)), weight, padding=padding)

    x = functional.conv2d(x, state["features.conv0.weight"], stride=2, padding=3)
    x = functional.max_pool2d(functional.relu(norm(state, "features.norm0", x)), 3, 2, 1)
    for i in range(1, 9):
        for j in range(1, 99):
            layer = f"features.denseblock{i}.denselayer{j}"
            if f"{layer}.norm1.weight" not in state:
                break
            x = torch.cat([x, unit(layer, "2", unit(layer, "1", x, 0), 1)], 1)
        if f"features.transition{i}.norm.weight" in state:
            x = functional.avg_pool2d(unit(f"features.transition{i}", "", x, 0), 2)
    x = norm(state, "features.norm5", x)
    return functional.max_pool2d(x, x.shape[-1]).flatten(1)


def bounded_reference(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """BReG-NeXt features straight from the published names."""
    x = functional.conv2d(x, state["model._conv0.weight"], state["model._conv0.bias"], padding=1)
    for name in sorted({m[0] for k in state if (m := re.match(r"model\._model\.\d+\._layer_stack\.\d+", k))}):
        stride = 2 if re.search(r"_model\.[13]\.", name) else 1
        a, c = state[f"{name}._shortcut._a"], state[f"{name}._shortcut._c"]
        kept = torch.atan(a * x / torch.sqrt(c**2 + 1)) / (a * torch.sqrt(c**2 + 1))
        for number in "01":
            x = functional.elu(norm(state, f"{name}._batchnorm_conv{number}", x))
            weight, bias = (state[f"{name}._conv{number}.{p}"] for p in ("weight", "bias"))
            x = functional.conv2d(x, weight, bias, stride if number == "0" else 1, 1)
        kept = functional.avg_pool2d(kept, stride) if stride > 1 else kept
        extra = (x.shape[1] - kept.shape[1]) // 2
        x = x + torch.cat([torch.zeros_like(x[:, :extra]), kept, torch.zeros_like(x[:, :extra])], 1)
    return functional.elu(norm(state, "model._model.5", x)).mean((2, 3))


def published_layout(backbone: str) -> dict[str, Tensor]:
    """A small random checkpoint under the names and with the shapes of the public code."""
    sizes: dict[str, tuple[int, ...]] = {}

    def batch_norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            sizes[f"{name}.{part}"] = (width,)
        sizes[f"{name}.num_batches_tracked"] = ()

    if backbone == "densenet":
        growth, width, sizes["features.conv0.weight"] = 4, 8, (8, 3, 7, 7)
        batch_norm("features.norm0", width)
        for i, count in enumerate((2, 1, 2), 1):
            for j in range(1, count + 1):
                layer = f"features.denseblock{i}.denselayer{j}"
                batch_norm(f"{layer}.norm1", width)
                batch_norm(f"{layer}.norm2", 2 * growth)
                sizes[f"{layer}.conv1.weight"] = (2 * growth, width, 1, 1)
                sizes[f"{layer}.conv2.weight"] = (growth, 2 * growth, 3, 3)
                width += growth
            if i < 3:
                batch_norm(f"features.transition{i}.norm", width)
                sizes[f"features.transition{i}.conv.weight"] = (width // 2, width, 1, 1)
                width //= 2
        batch_norm("features.norm5", width)
    else:
        width, sizes["model._conv0.weight"], sizes["model._conv0.bias"] = 4, (4, 3, 3, 3), (4,)
        for i, count in enumerate((2, 1, 1, 1, 2)):
            for j in range(count):
                layer = f"model._model.{i}._layer_stack.{j}"
                after = width * (2 if i in (1, 3) else 1)
                for number, before in (("0", width), ("1", after)):
                    sizes[f"{layer}._conv{number}.weight"] = (after, before, 3, 3)
                    sizes[f"{layer}._conv{number}.bias"] = (after,)
                    batch_norm(f"{layer}._batchnorm_conv{number}", before)
                sizes[f"{layer}._shortcut._a"] = sizes[f"{layer}._shortcut._c"] = (1,)
                width = after
        batch_norm("model._model.5", width)
        sizes["model._fc0.weight"], sizes["model._fc0.bias"] = (7, width), (7,)
    sizes |= {"gc1.weight": (300, 16), "gc2.weight": (16, width), "A": (9, 9)}
    random = torch.Generator().manual_seed(0)
    state = {k: torch.randn(s, generator=random) * 0.3 for k, s in sizes.items()}
    state |= {k: v.abs() + 0.5 for k, v in state.items() if k.endswith("running_var") or "_shortcut" in k}
    state |= {k: torch.tensor(3) for k in state if k.endswith("num_batches_tracked")}
    state["A"] = state["A"].abs()
    return state


@pytest.mark.parametrize(("backbone", "side"), [("densenet", 227), ("bregnext", 112)])
def test_published_checkpoints_give_published_numbers(backbone: str, side: int) -> None:
    state = published_layout(backbone)
    torch.manual_seed(1)
    words, face = torch.randn(9, 300), torch.randn(2, 3, side, side)
    system = EmotionGCN.from_published({"epoch": 3, "model_state_dict": state}, words=words)
    features = (dense_reference if backbone == "densenet" else bounded_reference)(state, face)
    scale = torch.diag(state["A"].sum(1) ** -0.5)
    edges = (state["A"] @ scale).t() @ scale
    nodes = functional.leaky_relu(edges @ (words @ state["gc1.weight"]), 0.2)
    expected = features @ (edges @ (nodes @ state["gc2.weight"])).t()
    with torch.no_grad():
        for batch in ({"face": face}, {"face": face, "words": words.expand(2, 9, 300)}):
            found = system(batch)
            both = torch.cat([found["logits"], found["values"]], 1)
            torch.testing.assert_close(both, expected, rtol=1e-5, atol=1e-5)


def test_broken_checkpoints_are_named() -> None:
    state = published_layout("bregnext")
    with pytest.raises(ConfigError, match=r"lacks gc1\.weight"):
        EmotionGCN.from_published({k: v for k, v in state.items() if k != "gc1.weight"})
    with pytest.raises(ConfigError, match="neither"):
        EmotionGCN.from_published({k: v for k, v in state.items() if not k.startswith("model.")})
    with pytest.raises(ModelError, match="1 missing"):
        EmotionGCN.from_published({k: v for k, v in state.items() if k != "model._model.5.bias"})
    with pytest.raises(ModelError, match="unexpected"):
        EmotionGCN.from_published({**state, "extra.weight": torch.zeros(1)})
    with pytest.raises(ConfigError, match="11 nodes"):
        EmotionGCN.from_published({**state, "A": torch.eye(11)})


def test_values_are_derived_from_votes_on_request(tmp_path: Path) -> None:
    from affectus.corpora.readers import ferplus
    from affectus.corpora.synthetic import Tiny

    ferplus.write_tiny(Tiny(tmp_path))
    corpus = corpora.load("ferplus", tmp_path, strict=False)
    names = corpus.labels("label:ferplus8")
    config = replace(Config.tiny(), labels=names, space="ferplus8", words=(*names, "valence", "arousal"), counts=(),
                     correlation=((0.5,) * 10,) * 2)  # fmt: skip
    system = EmotionGCN(config)
    found = system.targets(corpus, "dist:ferplus8, derived")
    rows = np.flatnonzero(found["shares"].max(1) == 1)
    happy = names.index("happiness")
    assert set(found) == {"label", "shares", "values"}
    for row in rows[found["label"][rows] == happy]:
        assert found["values"][row].tolist() == pytest.approx([0.8, 0.45])
    assert np.nanmax(np.abs(found["values"])) <= 1
    with pytest.raises(ConfigError, match="no dist: column"):
        system.targets(corpus, "label:ferplus8,derived")
    with pytest.raises(ConfigError, match="contempt"):
        EmotionGCN(Config.tiny()).targets(corpus, "label:ferplus8")


def test_heads_of_the_baselines() -> None:
    for head, keys in (("plain", {"logits", "values", "embedding"}), ("single", {"logits", "embedding"})):
        system = EmotionGCN(replace(Config.tiny(), head=head))  # type: ignore[arg-type]
        assert set(system(system.example(2))) == keys
        (prediction, _) = system.decode(system(system.example(2)))
        assert bool(prediction.dimensions) == (head == "plain")


def test_predicted_values_stay_on_their_scale() -> None:
    system = EmotionGCN(Config.tiny())
    (prediction,) = system.decode({"logits": torch.zeros(1, 7), "values": torch.tensor([[3.0, -2.0]])})
    assert prediction.dimensions == {"valence": 1.0, "arousal": -1.0}


def test_bad_input_is_named(tmp_path: Path) -> None:
    system = EmotionGCN(Config.tiny())
    with pytest.raises(ConfigError, match="face: has shape"):
        system({"face": torch.randn(2, 1, 32, 32)})
    with pytest.raises(MediaError, match="RGB"):
        system.inputs()["face"](np.zeros((4, 4), np.uint8))
    with pytest.raises(ConfigError, match="words: have shape"):
        system.set_words(torch.zeros(9, 5))
    changes: list[dict[str, Any]] = [{"words": ("a",)}, {"correlation": ((1.0,),)}, {"counts": (1, 2)}]
    for change in changes:
        with pytest.raises(ValueError, match=next(iter(change))):
            replace(Config.tiny(), **change)
    table = tmp_path / "words.txt"
    table.write_text("".join(f"{word} {' '.join(['0.5'] * 12)}\n" for word in system.config.words), encoding="utf-8")
    system.use_words(str(table))
    assert (system.words == 0.5).all()

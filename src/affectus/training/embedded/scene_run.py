"""The run behind `recipes/scene/*.yaml`: OASIS in, a shipped scene model out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from affectus import assets, corpora
from affectus.corpora.corpus import Corpus
from affectus.errors import ConfigError
from affectus.features.colour import colour_vector
from affectus.metrics.reports import dimension_report
from affectus.models.face import FaceModel
from affectus.models.package import model_folder
from affectus.models.scene import SceneModel, square
from affectus.models.scene_faces import FaceSummary
from affectus.nn.efficientnet import EfficientNetLite, LiteConfig
from affectus.training.embedded.scene import TARGETS, SceneData, SceneFeatures, SceneNet, SceneTask
from affectus.training.embedded.shipping import card_fields, measure_speed, write_package
from affectus.training.export import byte_table, export_onnx, halve_weights, largest_difference
from affectus.training.loop import fit
from affectus.training.recipe import Recipe
from affectus.types import Card

#: Standard deviations of a normal distribution that hold 95 %.
NORMAL_95 = 1.96


class ShippedScene(nn.Module):
    """Pictures at two sizes, colour attributes and faces in, (B, 2, 2) out: [valence, arousal] × [mean, deviation]."""

    def __init__(self, features: SceneFeatures, net: SceneNet) -> None:
        super().__init__()
        self.features, self.net = features, net

    def forward(self, pixels: Tensor, large: Tensor, colours: Tensor, faces: Tensor) -> Tensor:
        last, earlier = self.features(pixels, large)
        return self.net(torch.cat([last, earlier, colours, faces], 1))


def build(recipe: Recipe) -> tuple[SceneFeatures, tuple[int, int]]:
    """The frozen feature extractor and two picture sides (px): the one it was published with, and `large` times that.

    `pretrained: false` is random.
    """
    name = str(recipe.options.get("trunk", "lite2"))
    config = LiteConfig.named(name)
    trunk = EfficientNetLite(config, drop_path=0.0)
    if recipe.options.get("pretrained", True):
        trunk.load_published(torch.load(assets.resolve(f"efficientnet-{name}"), map_location="cpu", weights_only=True))
    return SceneFeatures(trunk, tuple(recipe.options["levels"])).eval(), (
        config.side,
        round(config.side * float(recipe.options.get("large", 1.3))),
    )


def extract(corpus: Corpus, features: SceneFeatures, sides: tuple[int, int]) -> SceneData:
    """Features and targets of every picture."""
    faces = FaceSummary(FaceModel(model_folder("face")))
    blocks: list[list[np.ndarray]] = [[np.empty(0)] * len(corpus) for _ in range(4)]
    for row, image in corpus.iter_images():
        pixels = [torch.from_numpy(square(image, side).astype(np.float32))[None] for side in sides]
        with torch.no_grad():
            last, earlier = features(*pixels)
        found = last[0].numpy(), earlier[0].numpy(), colour_vector(image), faces(image)
        for block, values in zip(blocks, found, strict=True):
            block[row] = values
    if faces.missing:
        raise ConfigError("scene", f"learns from faces, but there is no face detector: {faces.missing}")
    targets = np.stack([corpus.array(f"dim:{name}") for name in TARGETS], 1).astype(np.float32)
    return SceneData(tuple(np.stack(b) for b in blocks), targets, np.array(corpus.column("group:theme")))


def cross_validate(recipe: Recipe, data: SceneData, folder: Path, known_themes: bool = False) -> np.ndarray:
    """Predictions (n, 2, 2) by processes that saw no picture of the same theme.

    With `known_themes` single pictures are held out, so that others of their theme were mostly seen.
    """
    themes, group = np.unique(data.theme if not known_themes else np.arange(len(data.theme)), return_inverse=True)
    count = min(int(recipe.options.get("folds", 10)), len(themes))
    fold = (np.random.default_rng(recipe.seed).permutation(len(themes)) % count)[group]
    outputs = np.zeros((len(data.targets), 2, 2))
    for number in range(count):
        held = fold == number
        task = SceneTask(data[np.flatnonzero(~held)], data[np.arange(0)], f"themes of fold {number + 1}")
        fit(task, recipe.phases, folder / f"fold{number + 1}", recipe.seed, fingerprint=recipe.fingerprint)
        with torch.no_grad():
            outputs[held] = task.net.solve()(torch.from_numpy(data[np.flatnonzero(held)].matrix())).numpy()
    return outputs


def run(recipe: Recipe, roots: dict[str, Path], folder: Path) -> Card:
    """Cross-validate, fit on all pictures, export, measure; the package lies in `folder/model`."""
    torch.manual_seed(recipe.seed)
    features, sides = build(recipe)
    corpus = corpora.load("oasis", roots["oasis"])
    data = extract(corpus, features, sides)
    outputs = cross_validate(recipe, data, folder)
    known = cross_validate(recipe, data, folder / "known-themes", known_themes=True)
    task = SceneTask(data, data[np.arange(0)], "none")
    result = fit(task, recipe.phases, folder / "all", recipe.seed, fingerprint=recipe.fingerprint)
    package = folder / "model"
    package.mkdir(exist_ok=True)
    shipped = ShippedScene(features, task.net.solve()).eval()
    example = {name: torch.zeros(1, 3, side, side) for name, side in zip(("pixels", "large"), sides, strict=True)}
    example |= {name: torch.from_numpy(data.blocks[i][:1]).float() for i, name in ((2, "colours"), (3, "faces"))}
    axes = {name: {0: "pictures"} for name in (*example, "outputs")}
    with torch.no_grad():
        export_onnx(shipped, example, "outputs", axes, package / "model.onnx")
    byte_table(package / "model.onnx", "net.known")
    halve_weights(package / "model.onnx")
    measured = score(data, outputs)
    measured["baselines"]["pictures_of_known_themes"] = dimension_report(data.targets, known[:, :, 0], TARGETS)
    write_package(package, card_fields(recipe, inputs={"sizes": list(sides)}, calibration=measured["calibration"]))
    model = SceneModel(package)
    images = [corpus.image(row) for row in range(min(8, len(corpus)))]
    batches = [{k: torch.from_numpy(v) for k, v in model.prepare([image]).items()} for image in images]
    measured["calibration"]["onnx_difference"] = largest_difference(shipped, package / "model.onnx", batches)
    measured["speed"] = {
        "pictures_per_second": measure_speed(model.outputs, images),
        "training_minutes": round(result.seconds / 60, 1),
    }
    return write_package(
        package, card_fields(recipe, inputs={"sizes": list(sides)}, **measured), folder / "all" / "log.jsonl"
    )


def score(data: SceneData, outputs: np.ndarray) -> dict[str, Any]:
    """Card fields from predictions of unseen themes; intervals resample themes.

    The width of the predictive interval is set so that it holds 95 % of the pictures of unseen themes; the coverage
    stated is of the plain normal interval.
    """
    error = np.abs(outputs[:, :, 0] - data.targets) / outputs[:, :, 1]
    inside = {
        f"coverage_normal_{name}": round(float((error[:, i] <= NORMAL_95).mean()), 4) for i, name in enumerate(TARGETS)
    }
    spread = data.targets - data.targets.mean(0)
    return {
        "n": len(data.targets),
        "metrics": dimension_report(data.targets, outputs[:, :, 0], TARGETS, data.theme),
        "calibration": {"interval_factor": round(float(np.quantile(error, 0.95)), 4), **inside},
        "baselines": {
            f"mean_mae_{name}": round(float(np.abs(spread[:, i]).mean()), 4) for i, name in enumerate(TARGETS)
        },
    }

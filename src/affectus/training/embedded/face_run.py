"""The run behind `recipes/face/*.yaml`: FER+ in, a shipped face model out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from affectus import assets, corpora
from affectus.metrics.recalibration import fit_temperature, softmax
from affectus.metrics.reports import classification_report
from affectus.models.face import FaceModel
from affectus.nn.efficientnet import EfficientNetLite, LiteConfig
from affectus.nn.mobilenet import BLOCKS, FaceMobileNet, read_onnx_weights
from affectus.training.embedded.face import LABELS, SIDE, FaceData, FaceNet, FaceTask, logits_of
from affectus.training.embedded.shipping import (
    calibration_record,
    card_fields,
    confusion_table,
    measure_speed,
    write_package,
)
from affectus.training.export import export_onnx, halve_weights, largest_difference
from affectus.training.loop import fit
from affectus.training.recipe import Recipe
from affectus.types import Card


class ShippedFace(nn.Module):
    """Crop through the net; calibrated probabilities (B, 8)."""

    def __init__(self, net: FaceNet, temperature: float) -> None:
        super().__init__()
        self.net, self.temperature = net, temperature

    def forward(self, images: Tensor) -> Tensor:
        return (self.net(images) / self.temperature).softmax(1)


def read_faces(root: Path, split: str) -> FaceData:
    """Grey images and votes of one split of FER+ in its published layout."""
    corpus = corpora.load("ferplus", root).split(split)
    images = np.zeros((len(corpus), SIDE, SIDE), np.uint8)
    for row, image in corpus.iter_images():
        images[row] = image[..., 0] if image.ndim == 3 else image
    return FaceData(images, np.asarray(corpus.column("votes:ferplus"), np.float32))


def without_copies(train: FaceData, other: FaceData) -> FaceData:
    """Drop training images whose pixels also occur in `other`: the corpus holds duplicates across its splits."""
    known = {image.tobytes() for image in other.images}
    return train[np.flatnonzero([image.tobytes() not in known for image in train.images])]


def build(recipe: Recipe) -> FaceNet:
    """A fresh net with published weights on the trunk the recipe names: `sface` (faces) or `lite0`, `lite2` (ImageNet).

    `pretrained: false` starts from random weights; `stem` and `blocks` then make a smaller `sface` trunk.
    """
    torch.manual_seed(recipe.seed)
    trunk: FaceMobileNet | EfficientNetLite
    options = recipe.options
    pretrained, name = options.get("pretrained", True), str(options.get("trunk", "lite0"))
    if name == "sface":
        blocks = tuple((int(channels), int(stride)) for channels, stride in options.get("blocks", BLOCKS))
        trunk = FaceMobileNet(int(options.get("stem", 32)), blocks)
        if pretrained:
            trunk.load_published(read_onnx_weights(assets.resolve("sface")))
    else:
        trunk = EfficientNetLite(LiteConfig.named(name), drop_path=float(options.get("drop_path", 0.1)))
        if pretrained:
            state = torch.load(assets.resolve(f"efficientnet-{name}"), map_location="cpu", weights_only=True)
            trunk.load_published(state)
    return FaceNet(trunk, dropout=float(options.get("dropout", 0.3)))


def run(recipe: Recipe, roots: dict[str, Path], folder: Path) -> Card:
    """Train, calibrate, export, measure; the package lies in `folder/model`."""
    report = read_faces(roots["ferplus"], "valid")
    train = without_copies(read_faces(roots["ferplus"], "train"), report)
    order = np.random.default_rng(recipe.seed).permutation(len(train.images))
    held = int(recipe.options.get("held_out", 1500))
    chosen_on = train[order[:held]]
    net = build(recipe)
    task = FaceTask(without_copies(train[order[held:]], chosen_on), chosen_on, net)
    result = fit(task, recipe.phases, folder, recipe.seed, recipe.precision, fingerprint=recipe.fingerprint)
    net.eval().cpu()

    truth = task.validation.majority()
    first = fit_temperature(truth, logits_of(net, task.validation.images))
    temperature = fit_temperature(truth, looked_twice(net, task.validation.images, first, second_look(recipe)))
    package = folder / "model"
    package.mkdir(exist_ok=True)
    shipped = ShippedFace(net, temperature).eval()
    example = torch.from_numpy(report.images[:2]).float()[:, None]
    axes = {"images": {0: "faces"}, "probabilities": {0: "faces"}}
    export_onnx(shipped, {"images": example}, "probabilities", axes, package / "model.onnx")
    halve_weights(package / "model.onnx")
    checked = [
        {"images": torch.from_numpy(report.images[i : i + 64]).float()[:, None]}
        for i in range(0, min(256, len(report.images)), 64)
    ]
    difference = largest_difference(shipped, package / "model.onnx", checked)
    return _write_card(recipe, package, net, report, temperature, difference, result.seconds)


def second_look(recipe: Recipe) -> float:
    """Probability of the first label below which the shipped model looks at the mirrored crop too."""
    return float(recipe.card.get("inputs", {}).get("second_look", 0.0))


def looked_twice(net: FaceNet, images: np.ndarray, temperature: float, threshold: float) -> np.ndarray:
    """Logits (n, 8) as the shipped model forms them: averaged with the mirror's where the first look is unsure."""
    first = logits_of(net, images)
    unsure = softmax(first, temperature).max(1) < threshold
    second = logits_of(net, np.ascontiguousarray(images[..., ::-1]))
    return np.where(unsure[:, None], (first + second) / 2, first)


def _write_card(
    recipe: Recipe, package: Path, net: FaceNet, report: FaceData, temperature: float, difference: float, seconds: float
) -> Card:
    scored = report[np.flatnonzero(report.scored())]
    truth = scored.majority()
    logits = looked_twice(net, scored.images, temperature, second_look(recipe))
    write_package(package, card_fields(recipe))
    model = FaceModel(package)
    probabilities = model.probabilities(list(scored.images))
    calibration = calibration_record(logits, softmax(logits, temperature), truth, temperature)
    fields = card_fields(
        recipe,
        n=len(truth),
        metrics=classification_report(truth, probabilities),
        calibration=calibration | {"onnx_difference": difference},
        confusion=confusion_table(truth, probabilities.argmax(1), len(LABELS)),
        baselines={"majority_accuracy": round(float(np.bincount(truth).max() / len(truth)), 4)},
        speed={
            "faces_per_second": measure_speed(model.probabilities, list(scored.images[:64])),
            "training_minutes": round(seconds / 60, 1),
        },
    )
    return write_package(package, fields, package.parent / "log.jsonl")

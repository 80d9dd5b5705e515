"""The run behind `recipes/face/*.yaml`: FER+ in, a shipped face model out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from affectus import assets, corpora
from affectus.metrics.reports import classification_report
from affectus.models.face import FaceModel
from affectus.nn.mobilenet import read_onnx_weights
from affectus.training.embedded.face import LABELS, SIDE, FaceData, FaceNet, FaceTask
from affectus.training.embedded.shipping import (
    CORPUS_FACTS,
    best_temperature,
    calibration_record,
    confusion_table,
    measure_speed,
    softmax,
    write_package,
)
from affectus.training.export import export_onnx, halve_weights, largest_difference
from affectus.training.loop import fit
from affectus.training.recipe import Recipe
from affectus.types import Card


class ShippedFace(nn.Module):
    """Crop and its mirror through the net, averaged; calibrated probabilities (B, 8)."""

    def __init__(self, net: FaceNet, temperature: float) -> None:
        super().__init__()
        self.net, self.temperature = net, temperature

    def forward(self, images: Tensor) -> Tensor:
        logits = self.net(torch.cat([images, images.flip(3)]))
        first, second = logits.chunk(2)
        return ((first + second) / (2 * self.temperature)).softmax(1)


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


def run(recipe: Recipe, roots: dict[str, Path], folder: Path) -> Card:
    """Train, calibrate, export, measure; the package lies in `folder/model`."""
    report = read_faces(roots["ferplus"], "valid")
    train = without_copies(read_faces(roots["ferplus"], "train"), report)
    order = np.random.default_rng(recipe.seed).permutation(len(train.images))
    held = int(recipe.options.get("held_out", 1500))
    torch.manual_seed(recipe.seed)
    net = FaceNet(dropout=float(recipe.options.get("dropout", 0.3)))
    if recipe.options.get("pretrained", True):
        net.trunk.load_published(read_onnx_weights(assets.resolve("sface")))
    task = FaceTask(train[order[held:]], train[order[:held]], net)
    result = fit(task, recipe.phases, folder, recipe.seed, recipe.precision)
    net.eval()

    logits = mirrored_logits(net, task.validation.images)
    temperature = best_temperature(logits, task.validation.majority())
    package = folder / "model"
    package.mkdir(exist_ok=True)
    shipped = ShippedFace(net, temperature).eval()
    example = torch.from_numpy(report.images[:2]).float()[:, None]
    axes = {"images": {0: "faces"}, "probabilities": {0: "faces"}}
    export_onnx(shipped, {"images": example}, "probabilities", axes, package / "model.onnx")
    halve_weights(package / "model.onnx")
    checked = [{"images": torch.from_numpy(report.images[i : i + 64]).float()[:, None]} for i in range(0, 256, 64)]
    difference = largest_difference(shipped, package / "model.onnx", checked)
    return _write_card(recipe, package, net, report, temperature, difference, result.seconds)


def mirrored_logits(net: FaceNet, images: np.ndarray, batch: int = 256) -> np.ndarray:
    """Mean logits (n, 8) of grey uint8 images (n, S, S) and their mirrors."""
    rows = []
    with torch.no_grad():
        for start in range(0, len(images), batch):
            x = torch.from_numpy(images[start : start + batch]).float()[:, None]
            rows.append((net(x) + net(x.flip(3))) / 2)
    return torch.cat(rows).numpy()


def _write_card(
    recipe: Recipe, package: Path, net: FaceNet, report: FaceData, temperature: float, difference: float, seconds: float
) -> Card:
    usable = report[np.flatnonzero(report.usable())]
    truth = usable.majority()
    logits = mirrored_logits(net, usable.images)
    fields = {
        "name": "face",
        "title": recipe.title,
        "version": recipe.version,
        "modality": "face",
        "task": "expression of one aligned face: distribution of crowd votes over eight labels",
        "perspective": "expressed",
        "space": "ferplus8",
        "labels": LABELS,
        "dimensions": ("valence", "arousal"),
        "inputs": {
            "size": SIDE,
            "colour": "grey",
            "range": "0-255",
            "alignment": "FER_TEMPLATE (five points, similarity)",
            "batch": 16,
            "mirror": "averaged inside the file",
        },
        "data": [{"name": "ferplus", **CORPUS_FACTS["ferplus"], "items": len(report.images)}],
        "licence": {"code": "Apache-2.0", "weights": "Apache-2.0", "data": CORPUS_FACTS["ferplus"]["licence"]},
        "backbone": {
            "name": "SFace MobileNet trunk (OpenCV Zoo)",
            "licence": "Apache-2.0",
            "url": "opencv_zoo/face_recognition_sface",
        },
        "split": "FER2013Valid (public test), images whose majority vote is one of the 8 emotions; trained on FER2013Train without copies of these",
        "selection": f"last decision by accuracy on {int(recipe.options.get('held_out', 1500))} held-out training images, temperature fitted there",
        "limits": (
            "Trained on web photographs found with English emotion words: posed and exaggerated expressions are over-represented.",
            "Contempt and disgust are rare in training (under 1 %) and rarely predicted.",
            "Valence and arousal are derived from the distribution, not measured.",
            "Profile faces, masks and faces under 24 pixels are unreliable; error rates by age, skin tone and culture are not measured.",
        ),
        "recipe": "recipes/face/ferplus.yaml",
        "baselines": {
            "majority_accuracy": round(float(np.bincount(truth).max() / len(truth)), 4),
            "lda_on_pixels_accuracy": 0.47,
        },
    }
    write_package(package, fields)
    model = FaceModel(package)
    probabilities = model.probabilities(list(usable.images))
    fields |= {
        "n": len(truth),
        "metrics": classification_report(truth, probabilities),
        "calibration": calibration_record(logits, softmax(logits, temperature), truth, temperature)
        | {"onnx_difference": difference},
        "confusion": confusion_table(truth, probabilities.argmax(1), len(LABELS)),
        "speed": {
            "faces_per_second": measure_speed(model.probabilities, list(usable.images[:64])),
            "training_minutes": round(seconds / 60, 1),
        },
    }
    return write_package(package, fields, package.parent / "log.jsonl")

"""The run behind `recipes/voice/*.yaml`: RAVDESS speech in, a shipped voice model out.

With so few speakers the honest number is a cross-validation over groups of speakers with everything fixed in advance;
the shipped weights are then trained the same way on all speakers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from affectus import assets, corpora
from affectus.errors import ConfigError
from affectus.metrics.recalibration import fit_temperature, softmax
from affectus.metrics.reports import classification_report, dimension_report
from affectus.models.voice import VoiceModel
from affectus.nn.whisper import WhisperTrunk
from affectus.training.embedded.shipping import (
    calibration_record,
    card_fields,
    confusion_table,
    measure_speed,
    write_package,
)
from affectus.training.embedded.voice import LABELS, VoiceData, VoiceNet, VoiceTask
from affectus.training.export import byte_weights, export_onnx, halve_weights, largest_difference
from affectus.training.loop import fit
from affectus.training.recipe import Recipe
from affectus.types import Card

#: Arousal added to a label's circumplex value for RAVDESS's two intensities.
INTENSITY = {"normal": -0.1, "strong": 0.2}


class ShippedVoice(nn.Module):
    """Calibrated probabilities of the mean logits of all members, then their mean arousal: (B, 9)."""

    def __init__(self, nets: Sequence[VoiceNet], temperature: float) -> None:
        super().__init__()
        self.nets, self.temperature = nn.ModuleList(nets), temperature

    def forward(self, mel: Tensor) -> Tensor:
        output = torch.stack([net(mel) for net in self.nets]).mean(0)
        return torch.cat([(output[:, :-1] / self.temperature).softmax(1), output[:, -1:]], 1)


def read_voices(root: Path) -> VoiceData:
    """All RAVDESS speech clips (sound only) under `root`.

    Arousal is the label's circumplex value shifted by the acted intensity.
    """
    from affectus.labels import space

    corpus = corpora.load("ravdess", root)
    kinds = zip(corpus.column("meta:channel"), corpus.column("meta:modality"), strict=True)
    corpus = corpus.filter([kind == ("speech", "audio") for kind in kinds])
    points = space("ravdess8").vad
    label = corpus.column("label:ravdess8")
    shift = [INTENSITY[name] for name in corpus.column("meta:intensity")]
    arousal = np.clip([points[name][1] + s for name, s in zip(label, shift, strict=True)], -1, 1)
    return VoiceData(
        [corpus.audio(i) for i in range(len(corpus))],
        np.array([LABELS.index(name) for name in label]),
        arousal.astype(np.float32),
        np.array(corpus.column("group:subject")),
    )


def speaker_folds(speakers: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Row masks of `count` folds with whole speakers.

    Consecutive actors alternate in gender: odd ones are dealt from the first fold on and even ones from the last, so
    that each fold has its share of both and sizes differ by at most one speaker.
    """
    names = np.unique(speakers)
    if len(names) < count:
        raise ConfigError("ravdess", f"has {len(names)} speakers, too few for {count} folds")
    rng = np.random.default_rng(seed)
    odd, even = rng.permutation(names[::2]), rng.permutation(names[1::2])
    return [np.isin(speakers, [*odd[i::count], *even[count - 1 - i :: count]]) for i in range(count)]


def build(recipe: Recipe) -> VoiceNet:
    """A fresh net with the published lower blocks of the speech encoder.

    `pretrained: false` starts from random weights, of any `width` and number of `heads`.
    """
    torch.manual_seed(recipe.seed)
    options = {"blocks": 2, "width": 384, "heads": 6, **recipe.options}
    longest = round(float(recipe.card.get("inputs", {}).get("max_seconds", 10.0)) * 50)  # the table takes 20 ms a row
    trunk = WhisperTrunk(int(options["blocks"]), int(options["width"]), int(options["heads"]), positions=longest)
    if recipe.options.get("pretrained", True):
        checkpoint = torch.load(assets.resolve("whisper-tiny-en"), map_location="cpu", weights_only=True)
        trunk.load_published(checkpoint["model_state_dict"])
    return VoiceNet(trunk, dropout=float(recipe.options.get("dropout", 0.3)))


def members(recipe: Recipe, folder: Path) -> list[tuple[Recipe, Path]]:
    """Recipe and folder of each member of the ensemble (option `members`, 1 unless told); only the seed differs."""
    alone = {name: value for name, value in recipe.options.items() if name != "members"}
    return [
        (recipe.model_copy(update={"seed": recipe.seed + k, "options": alone}), folder / f"member{k + 1}")
        for k in range(int(recipe.options.get("members", 1)))
    ]


def cross_validate(
    recipe: Recipe, data: VoiceData, folder: Path, changed: dict[tuple[int, int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean outputs (n, 9) of members that did not hear the speaker, and the fold number of every row.

    `changed` takes and gives the changed clips (see `VoiceTask`).
    """
    count = int(recipe.options.get("folds", 6))
    outputs = np.zeros((len(data.label), len(LABELS) + 1), np.float32)
    fold_of = np.zeros(len(data.label), int)
    every = members(recipe, folder)
    for number, mask in enumerate(speaker_folds(data.speaker, count, recipe.seed)):
        held = data[np.flatnonzero(mask)]
        for member, place in every:
            net = build(member)
            task = VoiceTask(data[np.flatnonzero(~mask)], held, net, f"speakers of fold {number + 1}", changed)
            part = place / f"fold{number + 1}"
            fit(task, member.phases, part, member.seed, member.precision, fingerprint=member.fingerprint)
            outputs[mask] += task.outputs(net.eval(), task.mels) / len(every)
        fold_of[mask] = number
    return outputs, fold_of


def run(recipe: Recipe, roots: dict[str, Path], folder: Path) -> Card:
    """Cross-validate, train on all speakers, calibrate, export, measure; the package lies in `folder/model`."""
    data = read_voices(roots["ravdess"])
    changed: dict[tuple[int, int], np.ndarray] = {}
    outputs, fold_of = cross_validate(recipe, data, folder, changed)
    temperature = fit_temperature(data.label, outputs[:, :-1])
    nothing = data[np.arange(0)]
    nets, seconds = [], 0.0
    for member, place in members(recipe, folder):
        nets.append(build(member))
        task = VoiceTask(data, nothing, nets[-1], "none", changed)
        result = fit(task, member.phases, place / "all", member.seed, member.precision, fingerprint=member.fingerprint)
        seconds += result.seconds
        nets[-1].eval().cpu()
    package = folder / "model"
    package.mkdir(exist_ok=True)
    shipped = ShippedVoice(nets, temperature).eval()
    axes = {"mel": {0: "clips", 2: "frames"}, "outputs": {0: "clips"}}
    export_onnx(shipped, {"mel": torch.zeros(1, 80, 200)}, "outputs", axes, package / "model.onnx")
    mels = VoiceTask(nothing, data[np.arange(min(24, len(data.label)))], nets[0], "none").mels
    clips = [{"mel": torch.from_numpy(mel)[None]} for mel in mels]
    differences = {"onnx_difference": largest_difference(shipped, package / "model.onnx", clips)}
    byte_weights(package / "model.onnx")
    halve_weights(package / "model.onnx")
    differences["int8_difference"] = largest_difference(shipped, package / "model.onnx", clips)
    write_package(package, card_fields(recipe))
    model = VoiceModel(package)
    measured = cross_validated_scores(data, outputs, fold_of, temperature)
    measured["calibration"] |= differences
    heard = list(data.audio[:16])
    length = sum(len(audio) for audio in heard) / 16000 / len(heard)
    measured["speed"] = {
        "times_real_time": round(measure_speed(model.outputs, heard) * length, 1),
        "training_minutes": round(seconds / 60, 1),
    }
    measured["baselines"] = {"majority_uar": 0.125, "mfcc_lda_uar": 0.46, "frozen_encoder_logistic_uar": 0.745}
    return write_package(package, card_fields(recipe, **measured), members(recipe, folder)[0][1] / "all" / "log.jsonl")


def cross_validated_scores(
    data: VoiceData, outputs: np.ndarray, fold_of: np.ndarray, temperature: float
) -> dict[str, Any]:
    """Card fields measured on unheard speakers; the temperature used for each fold comes from the other folds."""
    calibrated = np.zeros((len(outputs), len(LABELS)))
    for number in np.unique(fold_of):
        inside = fold_of == number
        other = fit_temperature(data.label[~inside], outputs[~inside, :-1])
        calibrated[inside] = softmax(outputs[inside, :-1], other)
    arousal = dimension_report(data.arousal[:, None], outputs[:, -1:], ["arousal"], data.speaker)
    return {
        "n": len(outputs),
        "metrics": classification_report(data.label, calibrated, data.speaker) | arousal,
        "calibration": calibration_record(outputs[:, :-1], calibrated, data.label, temperature),
        "confusion": confusion_table(data.label, calibrated.argmax(1), len(LABELS)),
    }

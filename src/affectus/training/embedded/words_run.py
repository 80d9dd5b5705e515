"""The run behind `recipes/words/*.yaml`: GoEmotions, EmoBank and further texts in, a shipped words model out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from affectus import assets, corpora
from affectus.corpora.leaks import plain_text
from affectus.metrics import pcc
from affectus.metrics.reports import Report, dimension_report, multilabel_report
from affectus.models.words import WordsModel
from affectus.training.embedded.shipping import card_fields, measure_speed, write_package
from affectus.training.embedded.words import VAD, WordsData, WordsNet, WordsTask, best_thresholds, collate
from affectus.training.embedded.words_teacher import pieces, teach
from affectus.training.export import byte_weights, export_onnx, largest_difference, quantise_weights
from affectus.training.loop import fit
from affectus.training.recipe import Recipe
from affectus.types import Card

#: Corpora whose labels are learnt; of any other corpus in a recipe only the texts are, through the teacher.
LABELLED = ("goemotions", "emobank")


class ShippedWords(nn.Module):
    """Probabilities after per-label Platt scaling, then VAD: (B, 31)."""

    slope: Tensor
    offset: Tensor

    def __init__(self, net: WordsNet, slope: np.ndarray, offset: np.ndarray) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("slope", torch.from_numpy(slope.astype(np.float32)))
        self.register_buffer("offset", torch.from_numpy(offset.astype(np.float32)))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        output = self.net(ids, mask)
        count = len(self.slope)
        return torch.cat([(output[:, :count] * self.slope + self.offset).sigmoid(), output[:, count:]], 1)


def read_words(
    roots: dict[str, Path], split: str, tokenizer: Tokenizer, labels: tuple[str, ...]
) -> tuple[WordsData, WordsData]:
    """GoEmotions and EmoBank (writer and reader ratings combined) of one split as token ids with targets."""
    posts = corpora.load("goemotions", roots["goemotions"]).split(split)
    order = [posts.labels("labels:goemotions28").index(label) for label in labels]
    hot = posts.multi_hot("labels:goemotions28").astype(np.float32)[:, order]
    emotions = WordsData(_ids(tokenizer, posts.column("text")), hot, np.full((len(posts), 3), np.nan, np.float32))
    bank = corpora.load("emobank", roots["emobank"]).split(split)
    vad = np.stack([bank.array(f"dim:{name}") for name in VAD], 1).astype(np.float32)
    blank = np.full((len(bank), len(labels)), np.nan, np.float32)
    return emotions, WordsData(_ids(tokenizer, bank.column("text")), blank, vad)


def _ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def taught_words(
    recipe: Recipe, roots: dict[str, Path], folder: Path, tokenizer: Tokenizer, train: tuple[WordsData, WordsData]
) -> list[WordsData]:
    """EmoBank and GoEmotions (`train` has them the other way round) with what the teacher says, then further texts.

    Option `teacher` names the `backbone` (an asset), the number of `folds`, how many `pieces` are made of each text of
    a corpus, and what `teach` takes.
    """
    options = recipe.options["teacher"]
    random = np.random.default_rng(recipe.seed)
    texts = _training_texts(recipe, roots)
    folds = {name: random.permutation(len(part)) % int(options["folds"]) for name, part in texts.items()}
    parts = [(name, part, folds[name]) for name, part in texts.items()]
    for name, each in options.get("pieces", {}).items():
        parts.append((f"pieces of {name}", *pieces(texts[name], folds[name], int(each), random)))
    said = teach(
        assets.resolve(options["backbone"]),
        [text for _, part, _ in parts for text in part],
        np.concatenate([fold for _, _, fold in parts]),
        train[1].vad,
        options,
        folder / "teacher",
        recipe.seed,
        recipe.precision,
    )
    labelled = dict(zip(LABELLED, train, strict=True))
    learnt, start = [], 0
    for name, part, _ in parts:
        data = labelled[name] if name in labelled else _unlabelled(tokenizer, part, train[0].labels.shape[1])
        learnt.append(replace(data, taught=said[start : start + len(part)]))
        start += len(part)
    return learnt


def _training_texts(recipe: Recipe, roots: dict[str, Path]) -> dict[str, list[str]]:
    """Texts per corpus, the rated one first; of unlabelled ones without those in a labelled one's validation part."""
    order = sorted(recipe.corpora, key=lambda name: (name != "emobank", name not in LABELLED))
    texts = {name: corpora.load(name, roots[name]).split("train").column("text") for name in order}
    held = {plain_text(t) for name in LABELLED for t in corpora.load(name, roots[name]).split("valid").column("text")}
    return {n: part if n in LABELLED else [t for t in part if plain_text(t) not in held] for n, part in texts.items()}


def _unlabelled(tokenizer: Tokenizer, texts: list[str], labels: int) -> WordsData:
    unknown = np.full((len(texts), labels + len(VAD)), np.nan, np.float32)
    return WordsData(_ids(tokenizer, texts), unknown[:, :labels], unknown[:, labels:])


def platt(truth: np.ndarray, logits: np.ndarray, steps: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset per label that minimise the log loss of sigmoid(slope · logit + offset).

    Newton steps with a weak pull towards (1, 0), so that labels with a handful of positives stay sane (Platt, 1999).
    """
    parameters = np.tile([1.0, 0.0], (truth.shape[1], 1))
    for label in range(truth.shape[1]):
        features = np.stack([logits[:, label], np.ones(len(logits))], 1)
        for _ in range(steps):
            p = 1 / (1 + np.exp(-features @ parameters[label]))
            gradient = features.T @ (p - truth[:, label]) + 2.0 * (parameters[label] - [1.0, 0.0])
            hessian = (features * (p * (1 - p))[:, None]).T @ features + 2.0 * np.eye(2)
            parameters[label] -= np.linalg.solve(hessian, gradient)
    return parameters[:, 0], parameters[:, 1]


def run(recipe: Recipe, roots: dict[str, Path], folder: Path) -> Card:
    """Train, calibrate on dev, export to int8, measure; the package lies in `folder/model`."""
    from transformers import AutoConfig, AutoModel

    from affectus.labels import space

    backbone = assets.resolve("minilm-l6")
    longest = int(recipe.options.get("max_tokens", 96))
    tokenizer = Tokenizer.from_file(str(backbone / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    labels = space("goemotions28").labels
    train, dev = (read_words(roots, split, tokenizer, labels) for split in ("train", "valid"))
    torch.manual_seed(recipe.seed)
    config = AutoConfig.from_pretrained(backbone)
    encoder = AutoModel.from_pretrained(backbone, add_pooling_layer=False, attn_implementation="eager")
    states = min(3, config.num_hidden_layers)
    net = WordsNet(encoder, config.hidden_size, len(labels), float(recipe.options.get("dropout", 0.1)), states)
    baselines: dict[str, Any] = {"bag_of_words_macro_f1": 0.13, "ridge_pcc": [0.32, 0.36, 0.24]}
    learnt: Sequence[WordsData] = train
    if "teacher" in recipe.options:
        learnt = taught_words(recipe, roots, folder, tokenizer, train)
        # Of rated sentences of `train`, each judged by a network that did not see its rating.
        baselines["teacher_pcc_train"] = [
            round(pcc(*pair), 4) for pair in zip(train[1].vad.T, learnt[0].taught.T, strict=True)
        ]
    whole = learnt[0]
    for part in learnt[1:]:
        whole = whole + part
    task = WordsTask(net, whole, dev[0] + dev[1], "dev (nothing is chosen on it but thresholds)", "epoch")
    result = fit(task, recipe.phases, folder, recipe.seed, recipe.precision, fingerprint=recipe.fingerprint)
    net.eval().cpu()

    package = folder / "model"
    package.mkdir(exist_ok=True)
    shutil.copy(backbone / "tokenizer.json", package / "tokenizer.json")
    probabilities = np.clip(task.outputs(net, dev[0])[:, : len(labels)].astype(float), 1e-7, 1 - 1e-7)
    logits = np.log(probabilities / (1 - probabilities))
    slope, offset = platt(dev[0].labels, logits)
    shipped = ShippedWords(net, slope, offset).eval()
    example = {name: collate(dev[0], range(2))[name] for name in ("ids", "mask")}
    axes = {"ids": {0: "texts", 1: "tokens"}, "mask": {0: "texts", 1: "tokens"}, "outputs": {0: "texts"}}
    export_onnx(shipped, example, "outputs", axes, package / "model.onnx")
    last = min(128, len(dev[0].ids))
    parts = [collate(dev[0], range(i, min(i + 16, last))) for i in range(0, last, 16)]
    batches = [{name: part[name] for name in ("ids", "mask")} for part in parts]
    exact = largest_difference(shipped, package / "model.onnx", batches)
    quantise_weights(package / "model.onnx", leave=_wide_products(package / "model.onnx"))
    byte_weights(package / "model.onnx")
    rounded = largest_difference(shipped, package / "model.onnx", batches)
    differences = {"onnx_difference": exact, "int8_difference": rounded}
    measured = {"calibration": differences, "baselines": baselines}
    return _write_card(recipe, package, labels, {"max_tokens": longest}, roots, result.seconds, measured)


def _wide_products(path: Path) -> list[str]:
    """Second products of the feed-forward blocks: a few of their inputs are so large that bytes lose the others."""
    import onnx

    names = [node.name for node in onnx.load(str(path)).graph.node if node.op_type == "MatMul"]
    return [name for name in names if name.endswith("/output/dense/MatMul") and "/attention/" not in name]


def _write_card(
    recipe: Recipe,
    package: Path,
    labels: tuple[str, ...],
    inputs: dict[str, Any],
    roots: dict[str, Path],
    seconds: float,
    measured: dict[str, dict[str, Any]],
) -> Card:
    write_package(package, card_fields(recipe, labels=labels, inputs={**inputs, "thresholds": [0.5] * len(labels)}))
    model = WordsModel(package)
    posts = corpora.load("goemotions", roots["goemotions"]).split("valid")
    truth = posts.multi_hot("labels:goemotions28").astype(int)
    scores = model.outputs(posts.column("text"))[:, : len(labels)]
    bank = corpora.load("emobank", roots["emobank"]).split("valid")
    rated = np.stack([bank.array(f"dim:{name}") for name in VAD], 1)
    found = model.outputs(bank.column("text"))[:, len(labels) :]
    thresholds = [round(float(t), 4) for t in best_thresholds(truth, scores)]
    fields = card_fields(
        recipe,
        labels=labels,
        inputs={**inputs, "thresholds": thresholds},
        n=len(truth),
        metrics=cross_fitted_report(truth, scores) | dimension_report(rated, found, VAD),
        **measured,
        speed={
            "sentences_per_second": measure_speed(model.outputs, posts.column("text")[:256]),
            "training_minutes": round(seconds / 60, 1),
        },
    )
    return write_package(package, fields, package.parent / "log.jsonl")


def cross_fitted_report(truth: np.ndarray, scores: np.ndarray) -> Report:
    """Multi-label metrics where the thresholds of each half of the rows come from the other half.

    Margins against the thresholds are shifted to 0.5 so that one cut serves all rows; calibration is scored unshifted.
    """
    halves = np.arange(len(truth)) % 2
    shifted = np.zeros_like(scores)
    for half in (0, 1):
        cut = best_thresholds(truth[halves != half], scores[halves != half])
        shifted[halves == half] = scores[halves == half] - cut + 0.5
    middle = np.full(truth.shape[1], 0.5)
    decided = multilabel_report(truth, shifted.clip(0, 1), middle)
    plain = multilabel_report(truth, scores, middle)
    return decided | {name: plain[name] for name in ("ece", "nll")}

"""From a recipe and a corpus in its published layout to a package that loads and can be evaluated."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from affectus import corpora, models
from affectus.errors import ConfigError, CorpusError
from affectus.training.embedded import face_run, scene_run, voice_run, words_run
from affectus.training.embedded.shipping import measure_speed
from affectus.training.run import train
from affectus.types import Card

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds are measured over a blink."""
    for module in (face_run, voice_run, words_run, scene_run):
        monkeypatch.setattr(module, "measure_speed", partial(measure_speed, seconds=0.001))


def tiny_recipe(name: str, path: Path, options: dict[str, Any], **phase: Any) -> Path:
    """A shipped recipe with one short phase and small settings."""
    record = yaml.safe_load((RECIPES / name).read_text(encoding="utf-8"))
    record["options"] |= {"pretrained": False} | options
    record["phases"] = [{"name": "short", "epochs": 1, "lr": 0.003, "batch_size": 4} | phase]
    record["precision"] = "no"
    path.write_text(yaml.safe_dump(record), encoding="utf-8")
    return path


def check_package(card: Card, folder: Path) -> Any:
    """What every produced package must be; returns its model."""
    model = models.load(card.modality, folder)
    assert model.card == Card.read(folder / "card.json")
    assert model.card.files == card.files
    assert card.n > 0
    assert card.metrics
    for name, entry in card.metrics.items():
        # Of a handful of items a percentile interval need not hold the value itself.
        assert entry["low"] <= entry["high"], name
        assert np.isfinite(entry["value"]), name
    assert card.speed["training_minutes"] >= 0
    log = [json.loads(line) for line in (folder / "training-log.jsonl").read_text().splitlines()]
    assert log[-1]["epoch"] >= 1
    return model


def test_face(tmp_path: Path) -> None:
    root = corpora.write_tiny("ferplus", tmp_path / "ferplus")
    options = {"trunk": "sface", "stem": 8, "blocks": [[8, 2], [16, 2]], "held_out": 4}
    recipe = tiny_recipe("face/ferplus.yaml", tmp_path / "face.yaml", options)
    card = train(recipe, {"ferplus": root}, tmp_path / "out")
    model = check_package(card, tmp_path / "out" / "model")
    assert card.n == 6  # eight faces: of one the raters know nothing, on another they are divided
    assert np.asarray(card.confusion).sum() == 6
    assert card.calibration["onnx_difference"] < 0.01
    faces = [image for _, image in corpora.load("ferplus", root).split("valid").iter_images()]
    assert len(model.predict(faces)) == 8
    again = train(recipe, {"ferplus": root}, tmp_path / "out")  # nothing is left to train
    assert again.metrics == card.metrics
    assert again.files == card.files
    other = tiny_recipe("face/ferplus.yaml", tmp_path / "other.yaml", options | {"held_out": 3})
    with pytest.raises(ConfigError, match="holds a run of other data, options, seed or precision"):
        train(other, {"ferplus": root}, tmp_path / "out")


def test_a_produced_face_package_is_evaluated(tmp_path: Path) -> None:
    from affectus.evaluation import evaluate

    root = corpora.write_tiny("ferplus", tmp_path / "ferplus")
    options = {"trunk": "tiny", "held_out": 3}
    card = train(
        tiny_recipe("face/ferplus.yaml", tmp_path / "face.yaml", options, freeze=["trunk.stem"]),
        {"ferplus": root},
        tmp_path / "out",
    )
    record = evaluate("face", "ferplus", root, "test", tmp_path / "out" / "model")
    assert record["weights"] == card.files
    assert 0 < record["n"] <= 8
    assert 0 <= record["metrics"]["accuracy"]["value"] <= 1


def test_scene(tmp_path: Path) -> None:
    root = corpora.write_tiny("oasis", tmp_path / "oasis")
    spread_arousal(root / "OASIS.csv")
    options = {"trunk": "tiny", "levels": [1, 3], "folds": 3}
    recipe = tiny_recipe("scene/oasis.yaml", tmp_path / "scene.yaml", options, epochs=2, lr=0.05, weight_decay=0.0)
    card = train(recipe, {"oasis": root}, tmp_path / "out")
    model = check_package(card, tmp_path / "out" / "model")
    assert card.n == 6
    assert card.calibration["onnx_difference"] < 0.05
    assert card.calibration["interval_factor"] > 0
    assert model.sizes == (32, 42)
    picture = corpora.load("oasis", root).image(0)
    prediction = model.predict([picture])[0]
    assert prediction.perspective == "evoked"
    assert prediction.low is not None
    assert (prediction.low <= prediction.scores).all()


def spread_arousal(path: Path) -> None:
    """The tiny corpus rates all pictures alike in arousal; nothing could be learnt from that."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["Arousal_mean"] = str(2 + number % 3)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_voice(tmp_path: Path) -> None:
    root = corpora.write_tiny("ravdess", tmp_path / "ravdess")
    song = root / "Actor_01" / "03-02-03-01-01-01-01.wav"
    song.write_bytes((root / "Actor_01" / "03-01-03-01-01-01-01.wav").read_bytes())
    options = {"blocks": 1, "width": 16, "heads": 2, "folds": 2}
    recipe = tiny_recipe("voice/ravdess.yaml", tmp_path / "voice.yaml", options, batch_size=32)
    card = train(recipe, {"ravdess": root}, tmp_path / "out")
    model = check_package(card, tmp_path / "out" / "model")
    assert card.n == 120  # the song is not speech
    assert card.calibration["onnx_difference"] < 0.01
    assert len(list((tmp_path / "out").glob("member*/fold*"))) == 2 * 2
    prediction = model.predict([np.zeros(8000, np.float32)])[0]
    assert prediction.scores.sum() == pytest.approx(1, abs=1e-4)


def backbone(folder: Path) -> Path:
    """A tiny random sentence encoder with a tokenizer, in the layout of the real one."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer
    from tokenizers import models as kinds
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "we", "it", "was", "wonderful", "hate", "afraid", "gone", "."]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(kinds.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def test_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = {name: corpora.write_tiny(name, tmp_path / name) for name in ("goemotions", "emobank", "vader")}
    encoder = backbone(tmp_path / "backbone")
    monkeypatch.setattr(words_run.assets, "resolve", {"minilm-l6": encoder, "larger": encoder}.__getitem__)
    phase = {"epochs": 1, "lr": 0.001, "batch_size": 16}
    teacher = {"backbone": "larger", "folds": 2, "pieces": {"emobank": 1}, "phase": phase}
    options = {"max_tokens": 24, "teacher": teacher}
    recipe = tiny_recipe("words/goemotions-emobank.yaml", tmp_path / "words.yaml", options)
    card = train(recipe, roots, tmp_path / "out")
    said = [np.load(tmp_path / "out" / "teacher" / f"fold{number}.npy") for number in (1, 2)]
    count = {name: len(corpora.load(name, root).split("train")) for name, root in roots.items()}
    without_vader = count["goemotions"] + 2 * count["emobank"]
    assert without_vader < sum(map(len, said)) <= without_vader + count["vader"]
    assert len(card.baselines["teacher_pcc_train"]) == 3
    model = check_package(card, tmp_path / "out" / "model")
    assert card.n == 12
    assert card.calibration["onnx_difference"] < 1e-4
    assert card.calibration["int8_difference"] < 0.1
    assert len(card.inputs["thresholds"]) == len(card.labels) == 28
    prediction = model.predict(["It was wonderful."])[0]
    assert set(prediction.dimensions) == {"valence", "arousal", "dominance"}
    assert model.longest == 24


def test_a_damaged_corpus_is_not_trained_on(tmp_path: Path) -> None:
    root = corpora.write_tiny("ferplus", tmp_path / "ferplus")
    label = root / "FER2013Train" / "label.csv"
    label.write_text(label.read_text().replace(",8,", ",eight,", 1))
    recipe = tiny_recipe("face/ferplus.yaml", tmp_path / "face.yaml", {"trunk": "tiny"})
    with pytest.raises(CorpusError, match=r"1 problems in ferplus, first: .*label\.csv"):
        train(recipe, {"ferplus": root}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_a_teacher_makes_use_of_further_texts(tmp_path: Path) -> None:
    recipe = tiny_recipe("words/goemotions-emobank.yaml", tmp_path / "words.yaml", {})
    record = yaml.safe_load(recipe.read_text())
    del record["options"]["teacher"]
    recipe.write_text(yaml.safe_dump(record), encoding="utf-8")
    with pytest.raises(ConfigError, match="words learns from emobank, goemotions"):
        train(recipe, {}, tmp_path / "out")

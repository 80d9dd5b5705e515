"""The teacher of the words model: pieces of texts, who judges what, and that a student learns from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from affectus.nn.phase import Phase
from affectus.training.embedded import words_teacher
from affectus.training.embedded.words import WordsData, WordsNet, WordsTask
from affectus.training.embedded.words_teacher import pieces, teach
from affectus.training.loop import fit

WORDS = ["[PAD]", "[UNK]", "good", "bad", "calm", "wild", "the", "day", "night", "was"]


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    """A tiny random encoder with a tokenizer of whole words, as a folder."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        pad_token_id=0,
    )  # fmt: skip
    folder = tmp_path / "encoder"
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def of_words(words: list[str], random: np.random.Generator, count: int) -> list[str]:
    return [" ".join(random.choice(words, 6)) for _ in range(count)]


OPTIONS = {"phase": {"epochs": 4, "lr": 0.01, "batch_size": 8}, "states": 1}


def test_pieces_are_stretches_of_texts_of_their_fold() -> None:
    texts = ["a b c d e f", "g h i j k", "l m", "n o p q r s t"]
    folds = np.array([0, 1, 0, 1])
    made, belongs = pieces(texts, folds, 30, np.random.default_rng(0))
    assert len(made) == len(belongs) == 4 * 30
    assert np.bincount(belongs).tolist() == [60, 60]
    joined = 0
    for text, fold in zip(made, belongs, strict=True):
        own = [texts[row] for row in np.flatnonzero(folds == fold)]
        # Either one stretch of a text of the fold, or two of them in a row.
        ways = [k for k in range(1, len(text.split()) + 1) if any(" ".join(text.split()[:k]) in t for t in own)]
        rest = " ".join(text.split()[max(ways) :])
        assert any(rest in t for t in own)
        joined += bool(rest)
    assert 30 < joined < 90
    assert pieces(texts, folds, 3, np.random.default_rng(5))[0] == pieces(texts, folds, 3, np.random.default_rng(5))[0]


def test_every_text_is_judged_by_the_network_of_its_fold(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    texts = of_words(WORDS[2:], random, 20)
    folds = np.arange(20) % 2
    vad = random.uniform(-0.5, 0.5, (12, 3)).astype(np.float32)
    seen: dict[str, list[list[int]]] = {}
    trained = words_teacher.fit

    def watched(task: WordsTask, phases: list[Phase], folder: Path, *rest: object) -> object:
        seen[folder.name] = [list(row) for row in task.train.ids]
        assert not np.isnan(task.train.vad).any()
        return trained(task, phases, folder, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(words_teacher, "fit", watched)
    said = teach(backbone, texts, folds, vad, OPTIONS, tmp_path / "teacher")
    ids = [e.ids for e in Tokenizer.from_file(str(backbone / "tokenizer.json")).encode_batch(texts)]
    assert seen == {"fold1": [ids[i] for i in range(12) if i % 2], "fold2": [ids[i] for i in range(12) if not i % 2]}
    assert said.shape == (20, 3)
    assert np.abs(said).max() <= 1
    monkeypatch.setattr(words_teacher, "fit", None)  # nothing is trained again
    assert (teach(backbone, texts, folds, vad, OPTIONS, tmp_path / "teacher") == said).all()
    (tmp_path / "teacher" / "fold2.npy").unlink()
    monkeypatch.setattr(words_teacher, "fit", trained)
    np.testing.assert_allclose(teach(backbone, texts, folds, vad, OPTIONS, tmp_path / "teacher"), said, atol=1e-6)


@pytest.mark.learning
def test_the_teacher_does_not_repeat_the_noise_of_ratings(backbone: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    texts = of_words(WORDS[2:], random, 160)
    worth = dict(zip(WORDS[2:], np.linspace(-0.9, 0.9, 8), strict=True))
    truth = np.array([[np.mean([worth[w] for w in t.split()]), 0, 0] for t in texts])
    ratings = (truth + random.normal(0, [0.3, 1e-3, 1e-3], truth.shape)).astype(np.float32)
    options = {"phase": {"epochs": 20, "lr": 0.01, "batch_size": 16}, "states": 1}
    said = teach(backbone, texts, np.arange(160) % 4, ratings, options, tmp_path / "teacher")
    noise = ratings[:, 0] - truth[:, 0]
    assert np.corrcoef(said[:, 0], truth[:, 0])[0, 1] > 0.8
    assert abs(np.corrcoef(said[:, 0] - truth[:, 0], noise)[0, 1]) < 0.25


def student() -> WordsNet:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return WordsNet(transformers.BertModel(config, add_pooling_layer=False), 32, 2, dropout=0.0, states=1)


@pytest.mark.learning
def test_a_student_learns_from_taught_texts_what_few_ratings_do_not_show(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    worth = random.uniform(-0.8, 0.8, 40)  # valence of each word; a text has the mean of its words

    def texts(count: int) -> tuple[list[list[int]], np.ndarray]:
        ids = [random.integers(1, 40, 6).tolist() for _ in range(count)]
        return ids, np.array([[worth[row].mean(), 0, 0] for row in ids], np.float32)

    few, ratings = texts(16)
    many, told = texts(600)
    fresh, truth = texts(150)
    blank = np.full((600, 2), np.nan, np.float32)
    validation = WordsData(fresh, np.tile(np.eye(2, dtype=np.float32), (75, 1)), truth)
    base = WordsData(few, blank[:16], ratings)
    found = {}
    for name, taught in (("taught", 3.0), ("ratings alone", 0.0)):
        whole = base + WordsData(many, blank, np.full((600, 3), np.nan, np.float32), told)
        task = WordsTask(student(), whole, validation, select="epoch", layers=1)
        phase = Phase("all", 6, 0.003, 16, options={"taught": taught})
        fit(task, [phase], tmp_path / name)
        found[name] = task.validate(task.model.eval())["pcc_valence"]
    assert found["taught"] > 0.8
    assert found["taught"] > found["ratings alone"] + 0.2

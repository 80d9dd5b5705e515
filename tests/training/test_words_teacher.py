"""The teacher of the words model: states of texts, leave-one-out means, and that a student learns from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from affectus.nn.gaussian_process import GaussianProcess, products
from affectus.nn.phase import Phase
from affectus.training.embedded import words_teacher
from affectus.training.embedded.words import WordsData, WordsNet, WordsTask
from affectus.training.embedded.words_teacher import teach, text_states
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


def test_states_are_means_over_tokens_whatever_the_batch(backbone: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    texts = ["the day was good", "bad", "the night was wild and calm", "good day"]
    found = text_states(backbone, texts, [1, 3], 8, tmp_path / "states.npy")
    assert found.shape == (4, 2 * 16)
    model = AutoModel.from_pretrained(backbone, add_pooling_layer=False).eval()
    with torch.no_grad():
        states = model(torch.tensor([[WORDS.index("good"), WORDS.index("day")]]), output_hidden_states=True)
    wanted = torch.cat([states.hidden_states[layer][0].mean(0) for layer in (1, 3)]).numpy()
    np.testing.assert_allclose(found[3], wanted, atol=0.03)  # bfloat16 against float32
    alone = text_states(backbone, texts[1:2], [1, 3], 8, tmp_path / "alone.npy")
    np.testing.assert_allclose(found[1], alone[0], atol=0.03)


def test_states_are_read_again_only_when_they_fit(backbone: Path, tmp_path: Path) -> None:
    path = tmp_path / "states.npy"
    text_states(backbone, ["good", "bad"], [3], 8, path)
    np.save(path, np.full((2, 16), 7, np.float16))
    assert (text_states(backbone, ["good", "bad"], [3], 8, path) == 7).all()
    assert (text_states(backbone, ["good", "bad", "calm"], [3], 8, path) != 7).any()


def rated(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and two ratings that depend on them, one of them in a curve, with noise."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 5)).astype(np.float32)
    clear = np.stack([features[:, 0], np.tanh(features[:, 1] * features[:, 2])], 1)
    return features, (0.3 * clear + random.normal(0, 0.05, clear.shape)).astype(np.float32)


def test_leaving_one_out_equals_fitting_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    features, ratings = rated(40, 0)
    monkeypatch.setattr(words_teacher, "_fitted", lambda pairs, y, steps: GaussianProcess(1))
    own, _ = teach(features, ratings, features[:0])
    # By hand: standardised as by `teach`, the item removed, predicted from the others.
    x = torch.from_numpy((features - features.mean(0)) / (features.std(0) + 1e-6))
    y = torch.from_numpy((ratings - ratings.mean(0)) / ratings.std(0))
    process = GaussianProcess(1)
    for item in (0, 17, 39):
        rest = torch.arange(40) != item
        with torch.no_grad():
            covariance = process.covariance(*products(x[rest], x[rest], [5])).double()
            cross = process.kernel(*products(x[item : item + 1], x[rest], [5])).double()
            told = (cross @ torch.linalg.solve(covariance, y[rest].double()))[0].numpy()
        np.testing.assert_allclose(own[item], told * ratings.std(0) + ratings.mean(0), atol=2e-3)


def test_the_teacher_knows_new_texts_better_than_a_line_does() -> None:
    features, ratings = rated(500, 1)
    fresh, truth = rated(300, 2)
    _, said = teach(features, ratings, fresh)
    design = np.c_[features, np.ones(len(features))]
    line = np.c_[fresh, np.ones(len(fresh))] @ np.linalg.lstsq(design, ratings, rcond=None)[0]
    error = ((said - truth) ** 2).mean(0)
    assert error[0] < 1.3 * 0.05**2
    assert error[1] < 0.6 * ((line - truth) ** 2).mean(0)[1]


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

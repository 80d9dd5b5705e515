"""The words task: batches by length, padding that changes nothing, thresholds, Platt scaling, learning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from affectus.corpora.synthetic import EMOTIONS, sentence
from affectus.metrics import pcc
from affectus.metrics.multilabel import multilabel_f1
from affectus.nn.phase import Phase
from affectus.training.embedded.words import (
    LengthBuckets,
    WordsData,
    WordsNet,
    WordsTask,
    best_thresholds,
    collate,
)
from affectus.training.embedded.words_run import ShippedWords, cross_fitted_report, platt
from affectus.training.loop import fit

#: Valence told for sentences of an emotion.
VALENCE = {"happiness": 0.8, "surprise": 0.3, "neutral": 0.0, "sadness": -0.6, "anger": -0.8}


def encoder(vocabulary: int = 80, layers: int = 2) -> nn.Module:
    """A tiny random BERT."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa",
    )
    return transformers.BertModel(config, add_pooling_layer=False)


def tiny(vocabulary: int = 80, labels: int = 7, layers: int = 2) -> WordsNet:
    torch.manual_seed(0)
    return WordsNet(encoder(vocabulary, layers), 32, labels, dropout=0.0, states=layers)


def spoken(count: int, seed: int, words: dict[str, int]) -> WordsData:
    """Sentences with their emotion as label; every other one has a valence instead. Token 1 opens each."""
    random = np.random.default_rng(seed)
    ids, labels, vad = [], [], []
    for i in range(count):
        emotion = EMOTIONS[i % len(EMOTIONS)]
        text = sentence(emotion, random, int(random.integers(5, 12)))
        ids.append([1, *(words.setdefault(word, len(words) + 2) for word in text.lower().strip(".").split())])
        rated = (i // len(EMOTIONS)) % 2 == 1
        labels.append(np.full(7, np.nan) if rated else np.eye(7)[i % 7])
        vad.append([VALENCE.get(emotion, -0.4), *random.uniform(-1, 1, 2)] if rated else [np.nan] * 3)
    return WordsData(ids, np.array(labels, np.float32), np.array(vad, np.float32))


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=120),
    size=st.integers(1, 16),
    pool=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_buckets_hold_every_text_once(lengths: list[int], size: int, pool: int, seed: int) -> None:
    buckets = LengthBuckets(lengths, size, seed, pool)
    batches = list(buckets)
    assert len(batches) == len(buckets)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert max(len(batch) for batch in batches) <= size
    assert batches == list(LengthBuckets(lengths, size, seed, pool))


def test_buckets_save_padding_and_follow_the_seed() -> None:
    lengths = np.random.default_rng(0).integers(2, 60, 640)

    def padded(batches: list[list[int]]) -> int:
        return sum(len(batch) * int(lengths[batch].max()) for batch in batches)

    buckets = list(LengthBuckets(lengths.tolist(), 16, 0))
    assert padded(buckets) < 1.1 * lengths.sum()
    assert padded(np.arange(640).reshape(40, 16).tolist()) > 1.5 * lengths.sum()
    assert buckets != list(LengthBuckets(lengths.tolist(), 16, 1))


def test_padding_and_batch_mates_change_nothing() -> None:
    net = tiny().eval()
    random = np.random.default_rng(0)
    ids = [random.integers(2, 80, n).tolist() for n in (3, 30, 11, 1)]
    data = WordsData(ids, np.zeros((4, 7), np.float32), np.zeros((4, 3), np.float32))
    with torch.no_grad():
        batch = collate(data, [0, 1, 2, 3])
        together = net(batch["ids"], batch["mask"])
        for row in range(4):
            part = collate(data, [row])
            assert part["mask"].all()
            torch.testing.assert_close(net(part["ids"], part["mask"])[0], together[row], atol=1e-5, rtol=1e-4)
        # What stands in the padding is not seen.
        other = torch.where(batch["mask"] == 1, batch["ids"], 77)
        torch.testing.assert_close(net(other, batch["mask"]), together, atol=1e-6, rtol=0)


def test_collate_pads_and_keeps_the_targets() -> None:
    data = WordsData([[5, 6], [7], [8, 9, 3]], np.eye(3, dtype=np.float32), np.full((3, 3), np.nan, np.float32))
    batch = collate(data, [1, 0])
    assert batch["ids"].tolist() == [[7, 0], [5, 6]]
    assert batch["mask"].tolist() == [[1, 0], [1, 1]]
    assert batch["labels"].tolist() == [[0, 1, 0], [1, 0, 0]]
    assert batch["vad"].isnan().all()


def test_data_join_and_select() -> None:
    first = WordsData([[1], [2]], np.zeros((2, 2)), np.ones((2, 3)))
    both = first + WordsData([[3]], np.ones((1, 2)), np.zeros((1, 3)))
    assert list(both.ids) == [[1], [2], [3]]
    part = both[np.array([2, 0])]
    assert part.ids == [[3], [1]]
    assert part.labels.tolist() == [[1, 1], [0, 0]]


def test_each_row_teaches_only_the_head_it_has_targets_for() -> None:
    words: dict[str, int] = {}
    data = spoken(28, 0, words)
    task = WordsTask(tiny(), data, data)
    phase = Phase("p", 1, 0.1, 8)
    labelled = np.flatnonzero(~np.isnan(data.labels[:, 0]))
    rated = np.flatnonzero(~np.isnan(data.vad[:, 0]))
    assert set(task.losses(task.model, collate(data, labelled.tolist()), phase)) == {"labels"}
    assert set(task.losses(task.model, collate(data, rated.tolist()), phase)) == {"vad"}
    both = task.losses(task.model, collate(data, range(28)), phase)
    assert set(both) == {"labels", "vad"}
    torch.testing.assert_close(both["vad"], task.losses(task.model, collate(data, rated.tolist()), phase)["vad"])
    np.testing.assert_allclose(task.positive, np.full(7, 1 / 7), rtol=1e-6)


def test_depth_counts_from_the_heads() -> None:
    data = spoken(2, 0, {})
    task = WordsTask(tiny(), data, data, layers=2)
    names = [name for name, _ in task.model.named_parameters()]
    depth = {task.depth(name) for name in names}
    assert depth == {0, 1, 2, 3}
    assert task.depth("labels.weight") == 0
    assert all(task.depth(name) == 3 for name in names if "embeddings" in name)
    assert all(task.depth(name) == 1 for name in names if ".layer.1." in name)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> WordsTask:
    words: dict[str, int] = {}
    task = WordsTask(tiny(layers=1), spoken(350, 0, words), spoken(140, 1, words), layers=1)
    assert len(words) + 2 <= 80
    fit(task, [Phase("all", 14, 0.004, 32, weight_decay=0.01)], tmp_path_factory.mktemp("words"))
    task.model.eval()
    return task


def test_training_beats_no_training_and_shuffled_labels(learned: WordsTask, tmp_path: Path) -> None:
    metrics = learned.validate(learned.model)
    untrained = learned.validate(tiny(layers=1).eval())
    known = learned.train
    order = np.random.default_rng(0).permutation(len(known.ids))
    blind = WordsData(known.ids, known.labels[order], known.vad[order])
    ablation = WordsTask(tiny(layers=1), blind, learned.validation, layers=1)
    fit(ablation, [Phase("all", 2, 0.003, 32)], tmp_path)
    shuffled = ablation.validate(ablation.model.eval())
    assert metrics["macro_f1"] > 0.7
    assert metrics["macro_f1"] > max(untrained["macro_f1"], shuffled["macro_f1"]) + 0.25
    assert metrics["pcc_valence"] > 0.6
    assert metrics["pcc_valence"] > max(untrained["pcc_valence"], shuffled["pcc_valence"]) + 0.2
    mean = np.mean([metrics[f"pcc_{name}"] for name in ("valence", "arousal", "dominance")])
    assert metrics["score"] == pytest.approx(metrics["macro_f1"] + 0.5 * mean)


def test_outputs_keep_the_order_of_the_rows(learned: WordsTask) -> None:
    whole = learned.outputs(learned.model, learned.validation)
    rows = np.array([17, 3, 99])
    np.testing.assert_allclose(learned.outputs(learned.model, learned.validation[rows]), whole[rows], atol=1e-5)
    assert (whole[:, :7] >= 0).all()
    assert (np.abs(whole[:, 7:]) <= 1).all()


def test_the_shipped_form_scales_the_logits(learned: WordsTask) -> None:
    slope, offset = np.linspace(0.5, 2, 7), np.linspace(-1, 1, 7)
    batch = collate(learned.validation, [0, 5])
    with torch.no_grad():
        plain = learned.model(batch["ids"], batch["mask"])
        shipped = ShippedWords(learned.model, slope, offset).eval()(batch["ids"], batch["mask"])
    wanted = torch.sigmoid(plain[:, :7] * torch.tensor(slope).float() + torch.tensor(offset).float())
    torch.testing.assert_close(shipped, torch.cat([wanted, plain[:, 7:]], 1))


def test_thresholds_have_the_best_f1() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((800, 3)) < [0.5, 0.2, 0.05]).astype(int)
    scores = np.clip(0.3 * truth + random.normal(0.2, 0.15, truth.shape), 0, 1)
    cut = best_thresholds(truth, scores, smooth=0.0)
    for label in range(3):
        best = multilabel_f1(truth[:, [label]], (scores[:, [label]] >= cut[label]).astype(int))
        for other in np.linspace(0.02, 0.9, 30):
            guess = (scores[:, [label]] >= other).astype(int)
            assert multilabel_f1(truth[:, [label]], guess) <= best + 1e-9


def test_one_lucky_row_does_not_set_a_threshold() -> None:
    truth, scores = np.zeros((200, 1), int), np.full((200, 1), 0.3)
    truth[:30] = 1
    scores[:30] = 0.4  # thirty positives lie at 0.4, together with as many negatives …
    scores[30:60] = 0.4
    truth[60], scores[60] = 1, 0.9  # … and one positive lies far above
    assert best_thresholds(truth, scores)[0] <= 0.4
    alone = np.zeros((200, 1), int)
    alone[60] = 1
    assert 0.4 < best_thresholds(alone, scores)[0] <= 0.9


def test_planted_platt_parameters_are_found() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(-1, 2, (20_000, 2))
    slope, offset = np.array([0.6, 1.7]), np.array([-0.8, 0.5])
    truth = (random.random(logits.shape) < 1 / (1 + np.exp(-(slope * logits + offset)))).astype(float)
    found_slope, found_offset = platt(truth, logits)
    np.testing.assert_allclose(found_slope, slope, rtol=0.06)
    np.testing.assert_allclose(found_offset, offset, atol=0.08)


def test_platt_stays_sane_with_hardly_any_positives() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(-4, 1, (500, 2))
    truth = np.zeros((500, 2))
    truth[np.argmax(logits[:, 0]), 0] = 1  # one label with a single positive, one with none
    slope, offset = platt(truth, logits)
    assert np.isfinite(slope).all()
    assert np.isfinite(offset).all()
    assert (slope > 0).all()
    assert (1 / (1 + np.exp(-(slope * logits + offset)))).mean() < 0.02


def test_cross_fitted_scores_are_those_of_the_other_half() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((400, 3)) < 0.3).astype(int)
    scores = np.clip(0.25 * truth + random.normal(0.25, 0.1, truth.shape), 0.01, 0.99).astype(np.float32)
    report = cross_fitted_report(truth, scores)
    guess = np.zeros_like(truth)
    for half in (0, 1):
        own, other = np.arange(400) % 2 == half, np.arange(400) % 2 != half
        guess[own] = scores[own] >= best_thresholds(truth[other], scores[other])
    assert report["macro_f1"]["value"] == pytest.approx(multilabel_f1(truth, guess), abs=0.005)
    clipped = scores.astype(float)
    nll = -np.where(truth == 1, np.log(clipped), np.log1p(-clipped)).mean()
    assert report["nll"]["value"] == pytest.approx(nll, abs=1e-4)
    assert report["macro_f1"]["low"] < report["macro_f1"]["value"] < report["macro_f1"]["high"]
    assert pcc(truth[:, 0], scores[:, 0]) > 0.5  # the scores do carry something

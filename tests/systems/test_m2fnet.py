"""M2FNet: padding, margins, key fusion, causality, pooling of faces, what conversation and sound teach, bad input.

The published numbers cannot hold here: they need RoBERTa-large and a picture extractor taught on CASIA-WebFace.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from affectus import corpora
from affectus.corpora.synthetic import Tiny
from affectus.errors import ConfigError, MediaError
from affectus.metrics import weighted_f1
from affectus.nn.dialogue import DialogueItems, KeyFusion, turns_seen
from affectus.nn.losses.adaptive_margin import margin_losses
from affectus.systems import registry
from affectus.systems.base import Batch
from affectus.systems.m2fnet import CARD, Config, M2FNet
from affectus.systems.prediction import predict
from affectus.training.system_task import BatchItems, outputs_of
from affectus.types import Turn


def network(**changes: Any) -> M2FNet:
    torch.manual_seed(0)
    return M2FNet(replace(Config.tiny(), **changes)).eval()


def vector_batch(count: int = 3, turns: int = 5, present: tuple[int, ...] = (5, 3, 1)) -> Batch:
    """Conversations of unlike length whose slots are vectors; NaN where there is no turn."""
    random = torch.Generator().manual_seed(1)
    slots = {"text": 32, "audio": 12, "video": 20}
    batch: Batch = {n: torch.randn(count, turns, s, generator=random) for n, s in slots.items()}
    for i, k in enumerate(present):
        batch["text"][i, k:] = torch.nan
    return batch


@pytest.mark.sheet("Shapes: (B,k) with D_T=32, D_A=12, D_V=20 gives (B,k,C); padded positions change nothing")
def test_padding_changes_nothing() -> None:
    system, batch = network(), vector_batch()
    with torch.no_grad():
        found = system(batch)["turn_logits"]
        assert found.shape == (3, 5, 7)
        changed = {n: x.clone() for n, x in batch.items()}
        for name in ("audio", "video"):
            changed[name][1, 3:] = 1e3
            changed[name][2, 1:] = torch.nan
        again = system(changed)["turn_logits"]
        longer = {n: torch.cat([x, torch.full_like(x, torch.nan)], 1) for n, x in batch.items()}
        padded = system(longer)
    for i, k in enumerate((5, 3, 1)):
        torch.testing.assert_close(again[i, :k], found[i, :k], atol=1e-5, rtol=0)
        torch.testing.assert_close(padded["turn_logits"][i, :k], found[i, :k], atol=1e-5, rtol=0)
        torch.testing.assert_close(padded["logits"][i], found[i, k - 1], atol=1e-5, rtol=0)
        alone = system({n: x[i : i + 1, :k] for n, x in batch.items()})["turn_logits"]
        torch.testing.assert_close(alone[0], found[i, :k], atol=1e-5, rtol=0)


def test_causal_turns_do_not_depend_on_later_ones() -> None:
    batch = vector_batch(present=(5, 5, 5))
    changed = {n: x.clone() for n, x in batch.items()}
    for x in changed.values():
        x[:, 3:] += 1
    for causal, system in ((True, network(causal=True)), (False, network())):
        with torch.no_grad():
            difference = (system(batch)["turn_logits"] - system(changed)["turn_logits"])[:, :3].abs().max()
        assert (difference < 1e-6) == causal


def test_a_causal_reader_hides_the_next_turn() -> None:
    system = network(modalities=("text",), sizes=(), causal=True)
    turns = ["I won", "really?", "yes, the lottery", "wow"]
    with torch.no_grad():
        whole = system.follow(turns)
        begun = system.follow(turns[:2])
    np.testing.assert_allclose(whole[1].scores, begun[1].scores, atol=1e-5)


@pytest.mark.sheet("With constant keys a fusion layer's attention is uniform: output depends on text mean only")
def test_constant_keys_give_the_mean_of_the_text() -> None:
    torch.manual_seed(0)
    layer = KeyFusion(32, 4, 2, text_skip=False, dropout=0.0).eval()
    text, key = torch.randn(1, 6, 32), torch.ones(1, 6, 32)
    seen = turns_seen(torch.ones(1, 6, dtype=torch.bool), causal=False)
    with torch.no_grad():
        heard = [attend(text, key, text, seen) for attend in layer.attend]
        mean = text.mean(1, keepdim=True).expand_as(text)
        for attend, found in zip(layer.attend, heard, strict=True):
            torch.testing.assert_close(found, attend.out(attend.value(mean)), atol=1e-5, rtol=0)  # type: ignore
        shuffled = layer(text[:, [3, 0, 5, 1, 4, 2]], [key, key], seen)
        torch.testing.assert_close(shuffled, layer(text, [key, key], seen), atol=1e-5, rtol=0)


@pytest.mark.sheet("Detach test: with stop-gradient the mean D_an exceeds D_ap, with gradient through m it does not")
def test_triplets_on_the_sphere_come_apart() -> None:
    """The free points themselves are tested with the loss; here the extractor's own losses move embeddings."""
    torch.manual_seed(0)
    points = torch.randn(12, 4).requires_grad_()
    labels = torch.arange(12) % 3
    optimizer = torch.optim.Adam([points], 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        margin_losses(torch.nn.functional.normalize(points, dim=-1), points, labels)["triplet"].backward()
        optimizer.step()
    x = torch.nn.functional.normalize(points.detach(), dim=-1)
    distances, same = torch.cdist(x, x), labels[:, None] == labels[None]
    assert distances[same].mean() + 0.5 < distances[~same].mean()


def code_batch(count: int, seed: int) -> Batch:
    """The class is (code of the words one turn before + code of the sound now) modulo 3; pictures are noise."""
    random, rule = np.random.default_rng(seed), np.random.default_rng(5)
    words, sounds = rule.normal(size=(3, 32)), rule.normal(size=(3, 12))
    said, heard = random.integers(0, 3, (count, 6)), random.integers(0, 3, (count, 6))
    before = np.concatenate([np.zeros((count, 1), int), said[:, :-1]], 1)
    wanted = (before + heard) % 3
    wanted[:, 0] = -1  # nobody spoke before the first turn
    noisy = lambda x: (x + 0.3 * random.normal(size=x.shape)).astype("f4")
    arrays = {"text": noisy(words[said]), "audio": noisy(sounds[heard]), "turn_labels": wanted}
    return {name: torch.from_numpy(x) for name, x in arrays.items()}


def learnt(seed: int, **changes: Any) -> float:
    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "modalities": ("text", "audio"),
        "sizes": (12,),
        "encoder": "",
        "labels": ("neutral", "joy", "anger"),
    }
    system = M2FNet(replace(Config.tiny(), **settings | changes)).train()
    optimizer = torch.optim.AdamW(system.parameters(), 3e-3)
    for step in range(150):
        batch = code_batch(48, 1000 * seed + step)
        optimizer.zero_grad()
        system.losses(batch, system(batch))["emotion"].backward()
        optimizer.step()
    outputs, targets, _ = outputs_of(system.eval(), BatchItems(code_batch(100, 999_999 - seed)))
    return weighted_f1(targets["label"], outputs["logits"].argmax(1))


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.sheet("Learning: label of previous text and current audio code; beats no dialogue encoders and text-only")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_needs_the_conversation_and_the_sound(seed: int) -> None:
    whole = learnt(seed)
    assert whole > learnt(seed, layers=0, fusions=0) + 0.2
    assert whole > learnt(seed, modalities=("text",), sizes=()) + 0.2


def test_measures_are_of_labelled_turns() -> None:
    system, batch = network(), network().example(5, seed=2)
    batch["turn_labels"][0, 0] = -1
    outputs, targets, _ = outputs_of(system, BatchItems(batch), batch_size=2)
    wanted = batch["turn_labels"][batch["turn_labels"] >= 0]
    assert targets["label"].tolist() == wanted.tolist()
    with torch.no_grad():
        whole = system(batch)["turn_logits"][batch["turn_labels"] >= 0]
    np.testing.assert_allclose(outputs["logits"], whole.numpy(), atol=1e-5)
    assert system.measure(outputs, targets)["weighted_f1"] == weighted_f1(wanted.numpy(), whole.argmax(1).numpy())


def test_a_turn_that_is_asked_for() -> None:
    system, batch = network(), vector_batch()
    with torch.no_grad():
        outputs = system(batch | {"turn": torch.tensor([2, 0, 0])})
    torch.testing.assert_close(outputs["logits"], outputs["turn_logits"][[0, 1, 2], [2, 0, 0]])


def test_a_frozen_encoder_gives_the_same_numbers_from_words_and_vectors(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path)
    corpora.readers.meld.write_tiny(tiny)
    corpus = corpora.load("meld", tmp_path)
    read = network(modalities=("text",), sizes=()).items(corpus, "label:meld7")
    system = network(modalities=("text",), sizes=(), frozen=True)
    made = system.items(corpus, "label:meld7")
    assert isinstance(made, DialogueItems)
    assert len(made) == len(read) == 6
    assert sorted(made.kept) == list(range(18))
    assert made[0]["speaker"].tolist() == [0, 1, 0]
    wanted = ["neutral", "surprise", "fear"]  # the first three classes of the space
    assert [CARD.labels[k] for k in made[0]["turn_labels"]] == wanted
    for i in range(len(made)):
        batches = [{k: torch.from_numpy(part[i][k])[None] for k in ("text", "turn_labels")} for part in (made, read)]
        with torch.no_grad():
            a, b = (system(batch)["turn_logits"] for batch in batches)
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@pytest.mark.sheet("The published MELD CSVs load with the counts above")
def test_published_meld(shared_data: Path) -> None:
    corpus = corpora.load("meld", shared_data / "meld", strict=False)
    for split, count, talks in (("train", 9989, 1038), ("valid", 1109, 114)):
        part = corpus.split(split)
        assert (len(part), len(part.dialogues())) == (count, talks)
    classes, sizes = np.unique(corpus.split("train").column("label:meld7"), return_counts=True)
    assert dict(zip(classes, sizes.tolist(), strict=True)) == {
        "neutral": 4710, "joy": 1743, "surprise": 1205, "anger": 1109, "sadness": 683, "disgust": 271, "fear": 268,
    }  # fmt: skip
    assert max(map(len, corpus.split("train").dialogues().values())) == 24


def test_published_sound_vectors_take_their_turns(shared_data: Path, tmp_path: Path) -> None:
    for folder in ("meld", "meld_features"):
        for path in (shared_data / folder).iterdir():
            (tmp_path / path.name).symlink_to(path)
    corpus = corpora.load("meld", tmp_path, strict=False).split("valid")
    rows = corpus.dialogues()
    few = corpus.take(np.concatenate(list(rows.values())[:3]))
    system = network(modalities=("text", "audio"), sizes=(300,), features=("audio_mel",), longest=64)
    items = system.items(few, "label:meld7")
    assert len(items) == 3
    item = items[1]
    there = item["turn_labels"] >= 0
    assert np.isfinite(item["audio"][there]).all()
    assert np.isnan(item["audio"][~there]).all()


def test_long_talks_are_read_in_pieces() -> None:
    system = network(modalities=("text",), sizes=())
    found = system.follow([Turn(f"word {i}") for i in range(2000)])
    assert len(found) == 2000
    assert all(p.perspective == "expressed" for p in found[:3])


def test_odd_turns_do_no_harm(tmp_path: Path) -> None:
    system = network(modalities=("text",), sizes=())
    for talk in (["hello"], ["", "  ", "😀😀"], ["word " * 500, ""]):
        assert all(np.isfinite(p.scores).all() for p in system.follow(talk))
    path = tmp_path / "chat.csv"
    path.write_text("speaker,text\nAnn,I lost it\nBen,oh no\n", encoding="utf-8")
    _, found = predict(system, [path])
    assert found.prediction is not None
    np.testing.assert_allclose(found.prediction.scores, system.follow(["I lost it", "oh no"])[-1].scores, atol=1e-6)


def test_bad_input_is_named() -> None:
    with pytest.raises(ConfigError, match="audio"):
        network().follow(["hello"])
    with pytest.raises(ConfigError, match="text first"):
        Config(("audio", "text"))
    with pytest.raises(ConfigError, match="sizes"):
        Config(sizes=(3,))
    with pytest.raises(ConfigError, match="do not divide"):
        network(heads=5)
    with pytest.raises(ConfigError, match="width"):
        network(width=64)
    words = network().example(2)
    with pytest.raises(ConfigError, match="no encoder"):
        M2FNet(replace(Config.tiny(), encoder=""))(words)
    with pytest.raises(MediaError, match="no turn"):
        network(modalities=("text",), sizes=()).follow([])


def test_a_corpus_without_sound_vectors_is_named(tmp_path: Path) -> None:
    corpora.readers.meld.write_tiny(Tiny(tmp_path))
    with pytest.raises(ConfigError, match="audio_mel"):
        network(features=("audio_mel", "video")).items(corpora.load("meld", tmp_path), "label:meld7")


def test_labels_of_another_corpus_are_named(shared_data: Path) -> None:
    corpus = corpora.load("emorynlp", shared_data / "emorynlp", strict=False)
    with pytest.raises(ConfigError, match="Joyful"):
        network(modalities=("text",), sizes=()).items(corpus, "label:emorynlp7")


@pytest.mark.learning
def test_extractor_brings_like_voices_together() -> None:
    """Against random weights: nearest neighbours of unheard tones share their class more often."""
    fresh = registry.build("m2fnet", "tiny", "extract", seed=3)
    taught = registry.build("m2fnet", "tiny", "extract", seed=3)
    optimizer = torch.optim.Adam(taught.parameters(), 3e-3)
    torch.manual_seed(3)
    batch = taught.example(28, seed=1)
    for _ in range(25):
        optimizer.zero_grad()
        torch.stack(list(taught.train().losses(batch, taught(batch)).values())).sum().backward()
        optimizer.step()
    held, scores = taught.example(28, seed=77), []
    for system in (fresh, taught):
        with torch.no_grad():
            x = system.eval()({"audio": held["audio"]})["embedding"]
        scores.append(system.measure({"embedding": x.numpy()}, {"label": held["label"].numpy()})["neighbour_accuracy"])
    assert scores[1] > scores[0]

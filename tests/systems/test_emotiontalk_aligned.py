"""EmotionTalk with the fusions that step through aligned frames: MFN, Graph-MFN, MFM, MCTN."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from affectus import corpora
from affectus.corpora.readers import emotiontalk as reader
from affectus.corpora.synthetic import Tiny
from affectus.errors import ConfigError
from affectus.evaluation.missing import missing_scores
from affectus.nn.fusion_choice import ALIGNED
from affectus.systems.emotiontalk import Config, EmotionTalk
from affectus.training.system_task import BatchItems

OWN = {"mfn": set(), "graph_mfn": set(), "mfm": {"rebuilt", "prior"}, "mctn": {"translated", "returned"}}
every_fusion = pytest.mark.parametrize("fusion", ALIGNED)


def network(fusion: str, **changes: Any) -> EmotionTalk:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"sizes": (12, 10, 20), "features": (), "hidden": 16, "memory": 8, "dropout": 0.0}
    return EmotionTalk(replace(Config.aligned_frames(), fusion=fusion, **settings | changes)).eval()  # type: ignore


@every_fusion
def test_own_losses_are_added_and_every_parameter_learns(fusion: str) -> None:
    system = network(fusion, task="both").train()
    batch = system.example(8)
    losses = system.losses(batch, system(batch))
    assert set(losses) == {"emotion", "sentiment"} | OWN[fusion]
    assert all(value > 0 for value in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    assert [name for name, p in system.named_parameters() if p.grad is None or not p.grad.any()] == []


@every_fusion
def test_more_padding_and_batch_mates_change_nothing(fusion: str) -> None:
    system = network(fusion)
    batch = system.example(4, seed=3)
    longer = {n: torch.cat([torch.zeros(4, 3, x.shape[2]), x], 1) if x.ndim == 3 else x for n, x in batch.items()}
    with torch.no_grad():
        logits = system(batch)["logits"]
        torch.testing.assert_close(system(longer)["logits"], logits, atol=1e-5, rtol=0)
        alone = torch.cat([system({n: x[i : i + 1] for n, x in batch.items()})["logits"] for i in range(4)])
        torch.testing.assert_close(alone, logits, atol=1e-5, rtol=0)


@every_fusion
def test_a_missing_modality_is_the_same_however_it_is_said(fusion: str) -> None:
    system = network(fusion)
    batch = system.example(5)
    said = {**batch, "present": torch.tensor([[True, True, False]]).expand(5, -1)}
    with torch.no_grad():
        logits = system(said)["logits"]
        for other in (
            {**said, "video": batch["video"] * 7},
            {name: x for name, x in batch.items() if name != "video"},
            {**batch, "video": torch.full_like(batch["video"], torch.nan)},
        ):
            torch.testing.assert_close(system(other)["logits"], logits, atol=0, rtol=0)
        changes = (system(batch)["logits"] - logits).abs().max()
    assert changes == 0 if fusion == "mctn" else changes > 1e-3


def test_translation_asks_for_words_alone_in_use() -> None:
    system = network("mctn")
    batch = system.example(70)
    optimizer = torch.optim.Adam(system.parameters(), 1e-2)
    system.train()
    for _ in range(30):
        optimizer.zero_grad()
        torch.stack(list(system.losses(batch, system(batch)).values())).sum().backward()
        optimizer.step()
    found = missing_scores(system, BatchItems(system.example(70, 9)), rates=())["conditions"]
    assert found["text"] == found["audio + text"] == found["text + video"] == found["audio + text + video"] > 0.8
    assert found["audio"] == found["audio + video"] < 0.2  # nothing to read: one answer for everybody


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aligned": False}, "set aligned"),
        ({"level": "utterance"}, "level frame alone"),
        ({"modalities": ("text",), "sizes": (10,)}, "several modalities"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], message: str) -> None:
    for fusion in ALIGNED:
        with pytest.raises(ConfigError, match=message):
            network(fusion, **changes)


@every_fusion
def test_settings_are_drawn_from_the_grid(fusion: str) -> None:
    config = Config.drawn(fusion, 3)
    assert (config.fusion, config.level, config.aligned) == (fusion, "frame", True)
    assert len({Config.drawn(fusion, seed) for seed in range(20)}) > 3


def test_stored_frames_of_a_corpus_are_aligned_to_the_words(tmp_path: Path) -> None:
    reader.write_tiny(Tiny(tmp_path))
    ids = corpora.load("emotiontalk", tmp_path).column("id")
    random = np.random.default_rng(0)
    for folder, width, length in (("a-FRA", 12, 40), ("t-FRA", 10, 13), ("v-FRA", 20, 25)):
        (tmp_path / "features" / folder).mkdir(parents=True)
        for name in ids:
            np.save(tmp_path / "features" / folder / f"{name}.npy", random.normal(size=(length, width)).astype("f4"))
    talk = corpora.load("emotiontalk", tmp_path)
    items = network("mfn", features=("a", "t", "v")).items(talk, "label:emotiontalk7")
    assert {name: items[0][name].shape for name in ("audio", "text", "video")} == {
        "audio": (3, 12), "text": (3, 10), "video": (3, 20)}  # fmt: skip
    pair = network("mfn", modalities=("audio", "video"), sizes=(12, 20), features=("a", "v")).items(talk, "")
    assert pair[0]["video"].shape == (7, 20), "without words the first modality gives the length"

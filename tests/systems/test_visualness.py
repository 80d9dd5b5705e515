"""TIP-CLIP: its objective, score, votes, NULL picture, labels from pages, what it learns, published CLIP layout.

Results on TImeD and Twitter cannot be shown here: neither corpus nor CLIP's weights travel with the project.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from affectus import corpora
from affectus.corpora.readers.visualness import verdict
from affectus.errors import ConfigError, ModelError
from affectus.features.imageability import mean_imageability, pair_with_pictures, propagate, word_attention
from affectus.metrics import macro_f1, mrr, pcc
from affectus.nn.clip import Clip, ClipSizes
from affectus.systems import registry
from affectus.systems.visualness import Config, TipClip, TipClipAutomatic, null_picture, pictured_sentences, visualness


def loss_of(label: torch.Tensor, text: torch.Tensor, pictures: torch.Tensor, dedupe: bool = False) -> float:
    system = TipClip(replace(Config.tiny(), dedupe_null=dedupe))
    with torch.no_grad():
        system.clip.logit_scale.fill_(math.log(100))
    outputs = {"embedding": text, "pictures": pictures}
    return float(system.losses({"label": label, "image": torch.zeros(1)}, outputs)["contrast"].detach())


@pytest.mark.sheet("Loss identity: with all-visual batches L equals the ordinary symmetric CLIP loss")
def test_all_visual_batches_have_clips_loss() -> None:
    torch.manual_seed(0)
    text, pictures = functional.normalize(torch.randn(8, 16), dim=1), functional.normalize(torch.randn(8, 16), dim=1)
    logits = 100 * pictures @ text.T
    target = torch.arange(8)
    expected = 0.5 * (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target))
    assert loss_of(torch.ones(8), text, pictures) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.sheet("L -> (m/N) ln m (N=8, m=4 -> .693); with `dedupe_null` it -> 0")
def test_null_rows_leave_a_floor_that_dedupe_removes() -> None:
    label = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0])
    directions = torch.eye(8)[[0, 1, 2, 3, 4, 4, 4, 4]]  # perfectly aligned
    assert loss_of(label, directions, directions) == pytest.approx(4 / 8 * math.log(4), abs=1e-3)
    assert loss_of(label, directions, directions, dedupe=True) == pytest.approx(0, abs=1e-3)


@pytest.mark.sheet("S of a text whose embedding equals e_NULL is 0; orthogonal 1; threshold decision flips")
def test_score_and_decision() -> None:
    null = torch.tensor([1.0, 0.0])
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.5, 0.2]])
    assert visualness(text, null)[:3].tolist() == pytest.approx([0, 1, 2])
    torch.testing.assert_close(visualness(text * 7, null * 3), visualness(text, null))
    system = TipClip(Config.tiny()).eval()
    batch = system.example(4)
    score = system(batch)["visualness"]
    for place in (0, 3):
        with torch.no_grad():
            system.threshold.fill_(float(score[place]) - 1e-3)
            assert system.decode(system(batch))[place].top()[0] == "visual"
            system.threshold.fill_(float(score[place]) + 1e-3)
            assert system.decode(system(batch))[place].top()[0] == "non-visual"


@pytest.mark.sheet("Vote rule: ratings 1,1,2,3,3,6,7,7,7 -> non-visual; 5,5,6,7,7,1,1,4,4 -> visual")
def test_votes() -> None:
    assert verdict((1, 1, 2, 3, 3, 6, 7, 7, 7)) == "non-visual"
    assert verdict((5, 5, 6, 7, 7, 1, 1, 4, 4)) == "visual"
    assert verdict((4, 4, 4, 4, 4, 1, 2, 6, 7)) == "neutral"
    assert verdict((1, 2, 3, 3, 4, 6, 6, 7, 5)) == "ambiguous"


@pytest.mark.sheet("NULL image is reproducible from its seed and identical after save/load")
def test_null_picture_stays_the_same(tmp_path: Path) -> None:
    assert np.array_equal(null_picture(16, 3), null_picture(16, 3))
    assert not np.array_equal(null_picture(16, 3), null_picture(16, 4))
    system = TipClip(replace(Config.tiny(), null_seed=3)).eval()
    system.calibrate(np.array([0.1, 0.9]), np.array([0, 1]))
    system.save(tmp_path)
    again: Any = registry.load("visualness", tmp_path)
    assert torch.equal(again.null, system.null)
    assert again.threshold == system.threshold
    assert again.slope == system.slope


@pytest.mark.sheet("Auto-labelling: similarities (.36,.10) -> visual with image 0; (.17,.05) -> non-visual")
def test_labels_from_pages() -> None:
    found = pair_with_pictures(np.array([[0.36, 0.10], [0.17, 0.05], [0.20, 0.30]]))
    assert found.label.tolist() == [1, 0, -1]
    assert found.picture[0] == 0


def trained(config: Config, batch: dict[str, Any], seed: int, steps: int, start: TipClip | None = None) -> TipClip:
    torch.manual_seed(seed)
    system = TipClip(config).train()
    if start is not None:
        system.load_state_dict(start.state_dict())
    optimizer = torch.optim.AdamW(system.parameters(), 2e-3, weight_decay=0.0)
    for step in range(steps):
        rows = torch.arange(16) + 16 * (step % (len(batch["label"]) // 16))
        part = {k: v[rows] for k, v in batch.items()}
        optimizer.zero_grad()
        system.losses(part, system(part))["contrast"].backward()
        optimizer.step()
    return system.eval()


def scored(system: TipClip, held: dict[str, Any], test: dict[str, Any]) -> float:
    """Macro F1 on `test` at the threshold that is best on `held`."""
    with torch.no_grad():
        system.calibrate(system({"text": held["text"]})["visualness"].numpy(), held["label"].numpy())
        guess = system({"text": test["text"]})["visualness"] > system.threshold
    return macro_f1(test["label"].numpy(), guess.long().numpy(), 2)


def retrieval(system: TipClip, seed: int) -> float:
    """MRR over the four kinds of things, one sentence and one picture each."""
    sentences, pictures, label = pictured_sentences(200, seed, system.config.clip.image)
    kinds = [s.split()[1] for s in sentences]
    rows = [kinds.index(k) for k, visual in dict(zip(kinds, label, strict=True)).items() if visual]
    spec = system.inputs()["text"]
    with torch.no_grad():
        text = system.clip.text(torch.from_numpy(np.stack([spec(sentences[r]) for r in rows])))
        seen = system.clip.vision(torch.from_numpy(np.stack([system._picture()(pictures[r]) for r in rows])))
        similarity = functional.normalize(text, dim=-1) @ functional.normalize(seen, dim=-1).T
    return mrr(np.arange(len(rows)), similarity.numpy())


@pytest.mark.learning
@pytest.mark.sheet("Learning on a toy two-tower model")
def test_learning_beats_untrained_towers_a_lexicon_and_the_shared_picture() -> None:
    norms = {"apple": 0.9, "grass": 0.6, "policy": 0.3}  # half of the things and a quarter of the ideas are rated
    found, plain, words, own, shared = [], [], [], [], []
    for seed in range(2):
        held, test = TipClip(Config.tiny()).example(40, seed + 50), TipClip(Config.tiny()).example(80, seed + 90)
        batch = TipClip(Config.tiny()).example(64, seed)
        torch.manual_seed(seed)
        plain.append(scored(TipClip(Config.tiny()).eval(), held, test))
        system = trained(Config.tiny(), batch, seed, 80)
        found.append(scored(system, held, test))
        own.append(retrieval(system, seed + 7))
        shared.append(retrieval(trained(replace(Config.tiny(), pairing="shared"), batch, seed, 80), seed + 7))
        sentences, _, label = pictured_sentences(80, seed + 90, 8)
        words.append(macro_f1(label, np.array([int(mean_imageability(s, norms) > 0.12) for s in sentences]), 2))
    assert np.mean(found) > 0.95
    assert np.mean(found) > np.mean(plain) + 0.1
    assert np.mean(found) > np.mean(words) + 0.1
    assert np.mean(own) > np.mean(shared) + 0.2


@pytest.mark.learning
@pytest.mark.sheet("Two-stage training is not worse than stage 2 alone when stage-1 labels carry 10 % noise")
def test_two_stages_are_not_worse_than_the_second_alone() -> None:
    alone, both = [], []
    for seed in range(2):
        first, second = TipClip(Config.tiny()).example(64, seed), TipClip(Config.tiny()).example(16, seed + 20)
        held, test = TipClip(Config.tiny()).example(40, seed + 50), TipClip(Config.tiny()).example(80, seed + 90)
        flip = torch.from_numpy(np.random.default_rng(seed).random(64) < 0.1)
        noisy = {**first, "label": torch.where(flip, 1 - first["label"], first["label"])}
        start = trained(Config.tiny(), noisy, seed, 60)
        alone.append(scored(trained(Config.tiny(), second, seed, 15), held, test))
        both.append(scored(trained(Config.tiny(), second, seed, 15, start), held, test))
    assert np.mean(both) >= np.mean(alone) - 0.02


@pytest.mark.sheet("Propagation baseline reproduces sim*score on a three-word toy vocabulary; MRR of ranks (1,2,4)")
def test_propagation_and_mrr() -> None:
    vectors = {"dog": np.array([1.0, 0]), "idea": np.array([0, 1.0]), "puppy": np.array([4.0, 3.0])}
    assert propagate(["puppy"], {"dog": 0.9, "idea": 0.2}, vectors)["puppy"] == pytest.approx(0.8 * 0.9)
    similarity = np.array([[9, 1, 1, 1.0], [5, 4, 1, 1], [9, 8, 1, 7]])
    assert mrr(np.array([0, 1, 2]), similarity) == pytest.approx(0.5833, abs=1e-4)


def test_attention_equals_that_of_an_eager_tower() -> None:
    torch.manual_seed(0)
    system = TipClip(Config.tiny()).eval()
    ids = system.example(3)["text"]
    tower = system.clip.text.text_model
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        received = system.attention(ids)
        tower.config._attn_implementation = "eager"  # only then it gives its weights
        tower.encoder.layers[-1].self_attn.register_forward_hook(lambda _, __, out: seen.append(out[1]))
        system.clip.text(ids)
    for row, last in enumerate(ids.argmax(-1).tolist()):
        expected = seen[0][row, :, : last + 1].mean((0, 1))
        torch.testing.assert_close(received[row], expected, rtol=1e-5, atol=1e-6)
        assert received[row].sum().item() == pytest.approx(1, abs=1e-5)
        assert not received[row, last + 1 :].any()


def test_attention_can_be_compared_with_norms() -> None:
    weights = word_attention(np.array([0.1, 0.2, 0.2, 0.5]), [-1, 0, 1, 1])
    assert pcc(weights, [100.0, 300.0]) == pytest.approx(1)


def test_published_towers_score_as_clip_does() -> None:
    torch.manual_seed(3)
    source = Clip(replace(ClipSizes.tiny(), heads=1, text_heads=1)).eval()  # public heads are 64 wide
    state = {k.removeprefix("text.").removeprefix("vision."): v for k, v in source.state_dict().items()}
    system = TipClip.from_published(state).eval()
    batch = TipClip(Config.tiny()).example(4)
    with torch.no_grad():
        cosines = source(system.null[None], batch["text"])[0] / source.logit_scale.exp()
        torch.testing.assert_close(1 - system(batch)["visualness"], cosines, rtol=1e-5, atol=1e-5)
    with pytest.raises(ModelError, match="extra"):
        TipClip.from_published({**state, "text_model.extra": torch.zeros(1)})
    with pytest.raises(ModelError, match="missing"):
        TipClip.from_published({k: v for k, v in state.items() if not k.endswith("final_layer_norm.bias")})


def test_loss_needs_pictures_and_prediction_does_not() -> None:
    system = TipClip(Config.tiny())
    batch = system.example(4)
    text = {"text": batch["text"]}
    assert "pictures" not in system(text)
    with pytest.raises(ConfigError, match="image"):
        system.losses({**text, "label": batch["label"]}, system(text))


def test_null_rows_are_the_same_vector_whatever_their_picture() -> None:
    system = TipClip(Config.tiny()).eval()
    batch = system.example(4)
    with torch.no_grad():
        first = system(batch)["pictures"]
        second = system(
            {**batch, "image": torch.where((batch["label"] == 0)[:, None, None, None], 5.0, batch["image"])}
        )
    torch.testing.assert_close(first, second["pictures"])
    torch.testing.assert_close(first[1], system.null_features())


def test_items_pair_pictures_and_leave_out_visual_sentences_without(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60, 3), 200, np.uint8))
    (tmp_path / "human.csv").write_text(
        "sentence,label,image_path\nan apple,visual,a.png\nan ocean,visual,\na theory,non-visual,\n", encoding="utf-8"
    )
    corpus = corpora.load("visualness", tmp_path)
    system = TipClip(Config.tiny())
    items = system.items(corpus, "meta:verdict")
    assert len(items) == 2
    assert items[0]["label"] == 1
    assert items[0]["image"].shape == (3, 32, 32)
    assert items[0]["image"].std() >= 0
    assert items[1]["label"] == 0
    assert not items[1]["image"].any()


def test_long_sentences_are_cut_with_a_warning_and_empty_ones_are_scored() -> None:
    system = TipClip(Config.tiny()).eval()
    spec = system.inputs()["text"]
    with pytest.warns(UserWarning, match="cut to 32"):
        ids = spec("a very long sentence about an apple on the grass")
    assert torch.isfinite(system({"text": torch.from_numpy(np.stack([ids, spec("")]))})["logits"]).all()


def test_calibration_needs_both_classes_and_configs_are_checked() -> None:
    with pytest.raises(ConfigError, match="both"):
        TipClip(Config.tiny()).calibrate(np.array([0.1, 0.2]), np.array([1, 1]))
    with pytest.raises(ConfigError, match="pairing"):
        replace(Config.tiny(), pairing="none")  # type: ignore[arg-type]


def test_stages_have_the_published_epochs() -> None:
    assert TipClipAutomatic(Config.tiny()).phases()[0].epochs == 5
    assert TipClip(Config.tiny()).phases()[0].epochs == 2

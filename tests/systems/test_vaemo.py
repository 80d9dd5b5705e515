"""VAEmo: the acceptance lines of its sheet on the reconstruction. Line 8 (prompt parser) is shown in tests/lm.

Not shown here: anything against published numbers or weights, of which there are none.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from affectus.errors import ConfigError
from affectus.lm.descriptions import AffectDescription, write_descriptions
from affectus.nn.losses.contrastive import info_nce
from affectus.systems import registry
from affectus.systems.base import read_config
from affectus.systems.prediction import predict
from affectus.systems.vaemo import Config, VAEmo

SMALL = Config(width=32, heads=2, depth=2, decoder_width=16, decoder_heads=2, decoder_depth=1, size=16, frames=2,
               stride=1, patch=8, audio_frames=16, mels=16, audio_patch=8, drop_path=0.0, video_mask=0.5,
               audio_mask=0.5, hide_modality=0.0, difference=0, projection=16, space="", labels=("same", "different"),
               text="ngrams:1,width=16,buckets=1024,length=16,unit=word")  # fmt: skip


def fresh(config: Config, stage: str = "finetune", seed: int = 0) -> Any:
    return registry.build("vaemo", config, stage, seed)


def clips(config: Config, count: int, seed: int = 3) -> dict[str, Tensor]:
    generator, c = torch.Generator().manual_seed(seed), config
    return {"video": torch.randn(count, 3, c.frames, c.size, c.size, generator=generator),
            "audio": torch.randn(count, c.audio_frames, c.mels, generator=generator)}  # fmt: skip


def learn(system: Any, make: Any, steps: int, rate: float = 3e-3, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW([p for p in system.parameters() if p.requires_grad], rate, weight_decay=0.0)
    system.train()
    for _ in range(steps):
        batch = make(generator)
        optimizer.zero_grad()
        sum(system.losses(batch, system(batch)).values()).backward()
        optimizer.step()
    system.eval()


@pytest.mark.sheet("1. Shapes")
def test_shapes_of_the_published_geometry() -> None:
    config = Config(width=16, heads=2, depth=2, decoder_width=8, decoder_heads=2, decoder_depth=1, hide_modality=0)
    system, batch, lengths = fresh(config, "pretrain").eval(), clips(config, 2), []
    system.encoder.blocks[0].attn.register_forward_hook(lambda module, args, out: lengths.append(args[0].shape[1]))
    with torch.no_grad():
        outputs = system(batch)
        parts = system.encoder(system.given(batch))
    assert lengths == [80, 26, 106, 928]
    assert outputs["video_rebuilt"].shape == (2, 720, 1536)
    assert outputs["audio_rebuilt"].shape == (2, 102, 256)
    assert parts["video"].shape[1] + parts["audio"].shape[1] == 928


@pytest.mark.sheet("2. One weight set")
def test_one_set_of_weights_serves_all_passes() -> None:
    system = fresh(SMALL, "pretrain").eval()
    batch = system.given(clips(SMALL, 2))
    with torch.no_grad():
        alone = system.encoder({"video": batch["video"]})["video"]
        again = system.encoder({"video": batch["video"]})["video"]
        joint = system.encoder(batch)["video"]
        system.encoder.blocks[0].mlp.fc1.weight.add_(0.5)
        moved = [system.encoder({kind: batch[kind]})[kind] for kind in batch]
    assert torch.equal(alone, again)
    assert not torch.allclose(alone, joint)
    assert not torch.allclose(alone, moved[0])
    with torch.no_grad():
        system.encoder.blocks[0].mlp.fc1.weight.sub_(0.5)
        assert not torch.allclose(system.encoder({"audio": batch["audio"]})["audio"], moved[1])
    with torch.device("meta"):
        assert sum(p.numel() for p in VAEmo(Config()).parameters()) < 60e6


@pytest.mark.sheet("3. InfoNCE of matched pairs; a duplicated text adds nothing")
def test_duplicated_texts_are_no_negatives() -> None:
    system = fresh(replace(SMALL, temperature=0.5), "align")
    eye, ids = torch.eye(4, 16), torch.arange(4)[:, None] + torch.zeros(1, 3)
    wanted = math.log(1 + 3 * math.exp(-2))
    assert system.match(eye, eye, ids).item() == pytest.approx(wanted, rel=1e-5)
    twice, double = torch.cat([eye, eye[:1]]), torch.cat([ids, ids[:1]])
    lone = math.log(1 + 4 * math.exp(-2))  # rows that see both copies as strangers
    assert system.match(twice, twice, double).item() == pytest.approx((2 * wanted + 3 * lone) / 5, rel=1e-5)
    assert info_nce(twice, twice, 0.5) > system.match(twice, twice, double) + 0.1
    soft = fresh(replace(SMALL, duplicates="soft"), "align")
    assert torch.isfinite(soft.match(twice, twice, double))


@pytest.mark.sheet("4. Stage 2 gradients")
def test_text_encoder_learns_nothing_and_paths_can_be_switched_off() -> None:
    system = fresh(replace(SMALL, paths=("joint",), forgetting=0.0), "align")
    batch, calls = system.example(6), []
    inner = system.encoder.forward

    def recorded(parts: Any, masks: Any = None) -> Any:
        calls.append(tuple(parts))
        return inner(parts, masks)

    system.encoder.forward = recorded
    sum(system.losses(batch, system(batch)).values()).backward()
    assert calls == [("video", "audio")]
    assert all(p.grad is None for p in system.text.parameters())
    both = fresh(replace(SMALL, forgetting=0.0), "align")
    outputs = both(batch)
    losses = both.losses(batch, outputs)
    assert torch.autograd.grad(losses["unimodal"], outputs["video_text"], retain_graph=True)[0].any()
    assert torch.autograd.grad(losses["joint"], outputs["video_text"], allow_unused=True)[0] is None
    assert list(both.phases()[0].freeze) == [r"text\."]


LATENT = torch.Generator().manual_seed(7)
TO_VIDEO, TO_AUDIO = torch.randn(6, 3 * 2 * 256, generator=LATENT), torch.randn(6, 256, generator=LATENT)


def rendered(latent: Tensor) -> dict[str, Tensor]:
    return {"video": (latent @ TO_VIDEO).view(-1, 3, 2, 16, 16), "audio": (latent @ TO_AUDIO).view(-1, 16, 16)}


@pytest.mark.sheet("5. Synthetic stage 1: retrieval")
@pytest.mark.learning
def test_contrast_pairs_voices_with_faces() -> None:
    held, found = rendered(torch.randn(64, 6, generator=torch.Generator().manual_seed(97))), {}
    for weight in (0.1, 0.0):  # two small modalities with half of each hidden: the balance of rebuilding is another
        system = fresh(replace(SMALL, contrast=weight), "pretrain")
        learn(system, lambda g: rendered(torch.randn(32, 6, generator=g)), 120)
        with torch.no_grad():
            outputs = system(held)
        v, a = (functional.normalize(outputs[f"{kind}_mean"], dim=-1) for kind in ("video", "audio"))
        found[weight] = float(((v @ a.T).argmax(1) == torch.arange(64)).float().mean())
    assert found[0.1] > 0.25  # chance 1/64
    assert found[0.1] > found[0.0] + 0.1


WORDS = ("glad", "sad", "furious", "scared")
CENTRES = torch.tensor([[3.0, 0, 0, 0, 0, 0], [0, 3.0, 0, 0, 0, 0], [-3.0, 0, 0, 0, 0, 0], [0, -3.0, 0, 0, 0, 0]])


def shown(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Clips whose first two latent numbers show one of four emotions among strong other variation."""
    label = torch.randint(0, 4, (count,), generator=generator)
    noise = torch.randn(count, 6, generator=generator) * torch.tensor([0.7, 0.7, 3, 3, 3, 3])
    return rendered(CENTRES[label] + noise) | {"label": label}


def probe(system: Any, seed: int) -> float:
    """Accuracy of the nearest of five labelled examples' class means, on unlabelled clips."""
    draw = torch.Generator().manual_seed(1000 + seed)
    known, held = shown(200, draw), shown(300, draw)
    rows = torch.cat([torch.where(known["label"] == k)[0][:5] for k in range(4)])
    with torch.no_grad():
        vectors = [torch.cat([x.mean(1) for x in system.encoder(system.given(part)).values()], 1)
                   for part in (known, held)]  # fmt: skip
    spread = vectors[0].std(0)
    means = torch.stack([vectors[0][rows][known["label"][rows] == k].mean(0) for k in range(4)])
    guess = torch.cdist(vectors[1] / spread, means / spread).argmin(1)
    return float((guess == held["label"]).float().mean())


@pytest.mark.sheet("6. Synthetic stage 2: descriptions of a tenth of the clips")
@pytest.mark.learning
def test_descriptions_of_few_clips_help_and_shuffled_ones_do_not() -> None:
    scores: dict[str, list[float]] = {"stage 1": [], "described": [], "shuffled": []}
    for seed in range(3):
        pool = shown(640, torch.Generator().manual_seed(seed))
        first = fresh(SMALL, "pretrain", seed)
        learn(first, lambda g, p=pool: pick(p, g, 640), 40, seed=seed)
        scores["stage 1"].append(probe(first, seed))
        for name in ("described", "shuffled"):
            system = fresh(SMALL, "align", seed)
            system.initialise(first.state_dict())
            texts = pool["label"][:64]  # a tenth
            if name == "shuffled":
                texts = texts[torch.randperm(64, generator=torch.Generator().manual_seed(seed))]
            told = {**pool, "description": ids_of(system, texts)}
            learn(system, lambda g, t=told: pick(t, g, 64), 60, 2e-3, seed)
            scores[name].append(probe(system, seed))
    mean = {name: float(np.mean(values)) for name, values in scores.items()}
    assert mean["described"] > mean["stage 1"] + 0.05
    assert mean["shuffled"] < mean["described"] - 0.05


def ids_of(system: Any, labels: Tensor) -> Tensor:
    spec = system.inputs()["description"]
    return torch.from_numpy(np.stack([spec(f"the speaker looks and sounds {WORDS[int(k)]}") for k in labels]))


def pick(pool: dict[str, Tensor], generator: torch.Generator, first: int) -> dict[str, Tensor]:
    rows = torch.randint(0, first, (32,), generator=generator)
    return {name: values[rows] for name, values in pool.items()}


@pytest.mark.sheet("7. Fused input beats either modality on XOR; a dropped modality still runs")
@pytest.mark.learning
def test_only_the_pair_learns_what_neither_modality_shows() -> None:
    def xor(count: int, generator: torch.Generator) -> dict[str, Tensor]:
        bits = torch.randint(0, 2, (2, count), generator=generator)
        video = torch.randn(count, 3, 2, 16, 16, generator=generator) * 0.5
        video[..., :8] += (2.0 * bits[0] - 1)[:, None, None, None, None]
        audio = torch.randn(count, 16, 16, generator=generator) * 0.5
        audio[..., :8] += (2.0 * bits[1] - 1)[:, None, None]
        return {"video": video, "audio": audio, "label": bits[0] ^ bits[1]}

    held, scores = xor(400, torch.Generator().manual_seed(99)), {}
    for kinds in (("video", "audio"), ("video",), ("audio",)):
        only = lambda batch, kept=kinds: {k: v for k, v in batch.items() if k in (*kept, "label")}
        system = fresh(SMALL)
        learn(system, lambda g, f=only: f(xor(32, g)), 120)
        with torch.no_grad():
            guess = system(only(held))["logits"].argmax(1)
            scores[kinds] = float((guess == held["label"]).float().mean())
            if len(kinds) == 2:
                for kind in kinds:
                    assert torch.isfinite(system({kind: held[kind]})["logits"]).all()
    assert scores["video", "audio"] >= 0.9
    assert scores["video",] < 0.6
    assert scores["audio",] < 0.6


def test_a_wholly_hidden_modality_is_rebuilt_from_the_other() -> None:
    system = fresh(replace(SMALL, hide_modality=1.0), "pretrain").train()
    batch = clips(SMALL, 3)
    torch.manual_seed(0)
    outputs = system(batch)
    whole = [kind for kind in ("video", "audio") if outputs[f"{kind}_hidden"].shape[1] == SMALL.tokens(kind)]
    assert len(whole) == 1
    assert all(torch.isfinite(part) for part in system.losses(batch, outputs).values())
    kind, other = whole[0], "audio" if whole == ["video"] else "video"
    batch[other].requires_grad_(True)
    torch.manual_seed(0)
    system(batch)[f"{kind}_rebuilt"].sum().backward()
    assert batch[other].grad.abs().sum() > 0


def test_undescribed_clips_keep_only_the_loss_of_stage_one() -> None:
    system = fresh(SMALL, "align")
    batch = system.example(4)
    some = {**batch, "described": torch.tensor([1, 0, 1, 1])}
    none = {**batch, "described": torch.zeros(4)}
    torch.manual_seed(0)
    outputs = system(batch)
    assert set(system.losses(some, outputs)) == {"video", "audio", "contrast", "joint", "unimodal"}
    rest = system.losses(none, outputs)
    assert set(rest) == {"video", "audio", "contrast"}
    whole = super(type(system), system).losses(batch, outputs)
    torch.testing.assert_close(rest["video"], 0.1 * whole["video"])
    with pytest.raises(ConfigError, match="description"):
        system.losses({k: v for k, v in batch.items() if k != "description"}, outputs)


class Rows:
    """The part of a corpus that targets need."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns

    def column(self, name: str) -> list[Any]:
        return self.columns[name]


def test_descriptions_come_from_a_column_or_a_store(tmp_path: Path) -> None:
    system = fresh(SMALL, "align")
    rows: Any = Rows({"id": ["a", "b"], "meta:reason": ["a low voice", None]})
    found = system.targets(rows, "meta:reason")
    assert found["described"].tolist() == [1, 0]
    item = AffectDescription("b", "wide eyes", (), 1, 0, 0, 1, {})
    path = write_descriptions(tmp_path / "store.jsonl", [item])
    stored = system.targets(rows, f"file:{path}")
    assert stored["described"].tolist() == [0, 1]
    assert np.array_equal(stored["description"][1], system.inputs()["description"]("wide eyes"))
    rows.columns["meta:reason"] = ["", None]
    with pytest.raises(ConfigError, match="describes none"):
        system.targets(rows, "meta:reason")


def test_hicmae_weights_start_the_shared_blocks() -> None:
    hicmae = registry.build(
        "hicmae", {"width": 32, "heads": 2, "depth": 2, "fusion_depth": 1, "decoder_width": 16, "decoder_heads": 2,
                   "decoder_depth": 2, "taps": [1], "size": 16, "frames": 2, "patch": 8, "audio_frames": 16, "mels": 16,
                   "audio_patch": 8}, "pretrain", 5)  # fmt: skip
    system = fresh(SMALL)
    left = system.initialise(hicmae.state_dict())
    ours, theirs = system.encoder, hicmae
    assert torch.equal(ours.blocks[1].attn.qkv.weight, theirs.encoder.blocks[1].attn.qkv.weight)
    assert torch.equal(ours.blocks[1].norm2_audio.weight, theirs.encoder_audio.blocks[1].norm2.weight)
    assert torch.equal(ours.patch_embed_audio.proj.weight, theirs.encoder_audio.patch_embed.proj.weight)
    assert set(left) == {"encoder.modality", "fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}


def test_stages_hand_over_and_depth_falls_towards_the_input() -> None:
    first, last = fresh(SMALL, "pretrain", 1), fresh(SMALL, "finetune", 2)
    assert set(last.initialise(first.state_dict())) == {
        f"{a}.{b}" for a in ("head", "fc_norm") for b in ("weight", "bias")
    }
    depth = {name: last.depth(name) for name, _ in last.named_parameters()}
    assert depth["head.weight"] == depth["encoder.norm_audio.bias"] == 0
    assert depth["encoder.blocks.1.attn.qkv.weight"] == 1
    assert depth["encoder.patch_embed_audio.proj.weight"] == depth["encoder.modality"] == 3


def test_bad_input() -> None:
    system = fresh(Config.tiny()).eval()
    with pytest.raises(ConfigError, match="video"):
        system({})
    batch = system.example(2)
    with pytest.raises(ConfigError, match="audio"):
        system({**batch, "audio": batch["audio"][..., :8]})
    for wrong in ({"paths": []}, {"paths": ["third"]}, {"modalities": ["audio"]}):
        with pytest.raises(ConfigError, match=r"paths|modalities"):
            read_config(Config, wrong)
    items = [{"id": "no sound", "faces": [np.zeros((40, 40, 3), np.uint8)]},
             {"id": "silence", "audio": np.zeros(8000, np.float32)}]  # fmt: skip
    for found in predict(system, items):
        assert found.prediction is not None, found.error
        assert found.prediction.scores.sum() == pytest.approx(1, abs=1e-5)

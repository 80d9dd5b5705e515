"""EMER.

Counts and columns of the real files are shown in tests/corpora/test_real_counts.py, the parser of judge replies in
tests/lm/test_tags.py. The rank correlation with the published table is not shown: the files of baseline answers are in
Chinese, and the offline words are English. Real checkpoints need Vicuna and are out of reach here.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from affectus import corpora
from affectus.errors import ModelError
from affectus.lm.extraction import extract_words
from affectus.lm.judge import Judge, LocalClient
from affectus.lm.prompts import load_prompt
from affectus.lm.tags import parse_number
from affectus.systems.emer import EMER, Config, label_agreement


def system(**changes: Any) -> EMER:
    torch.manual_seed(0)
    return EMER(replace(Config.tiny(), **changes)).eval()


@pytest.mark.corpus
@pytest.mark.sheet("Loader reads all csv above (100/332 rows, the label counts given) and joins by name")
def test_both_versions_are_read_and_become_records(shared_data: Path) -> None:
    own = system()
    found = corpora.load("emer", shared_data / "emer", strict=False)
    records = own.targets(found, "meta:reason")["record"]
    versions = found.column("meta:version")
    assert (versions.count(1), versions.count(2)) == (100, 332)
    assert all(record is not None and record["reason"] for record in records)
    labels = [r["label"] for r, v in zip(records, versions, strict=True) if v == 1]
    assert {label: labels.count(label) for label in set(labels)} == {
        "angry": 36, "happy": 32, "worried": 17, "sad": 11, "surprise": 4
    }  # fmt: skip


@pytest.mark.sheet("Q-Former block: [B, 8*32, 768] -> 32 tokens; position added per frame before flattening")
def test_qformer_positions_are_those_of_frames() -> None:
    own = system(features="tower", patches=5, seen=12, heard=24, former=12, heads=2, queries=(32, 8))
    batch = own.example(2)
    assert batch["video"].shape == (2, 8, 5, 12)
    with torch.no_grad():  # fresh Q-Formers look at everything nearly alike
        for parameter in own.model.connectors["video"].former.parameters():  # type: ignore[union-attr, operator]
            parameter.mul_(10)
    mask = torch.ones(2, 8, dtype=torch.bool)
    media = {"video": (batch["video"], mask), "audio": (batch["audio"], mask)}
    found = own.model.branch_tokens(media, {1: "audio", 2: "video"})
    assert found[2][1].values.shape == (2, 32, 32)
    assert found[1][1].values.shape == (2, 8, 32)
    # Patches of one frame may change places, frames may not.
    swapped = batch["video"][:, :, [1, 0, 2, 4, 3]]
    turned = batch["video"].flip(1)
    same, other = (own.model.branch_tokens({"video": (v, mask)}, {2: "video"})[2][1].values for v in (swapped, turned))
    torch.testing.assert_close(same, found[2][1].values, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(other, found[2][1].values, atol=1e-4)


def _small_encoders(folder: Path) -> tuple[str, str]:
    """Random BLIP-2 (4 queries, 12 wide) and HuBERT (24 wide) as folders of transformers."""
    from transformers import (
        Blip2Config,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        Blip2VisionModelWithProjection,
        HubertConfig,
        HubertModel,
    )

    seen = Blip2VisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                             image_size=224, patch_size=112)  # fmt: skip
    former = Blip2QFormerConfig(hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
                                encoder_hidden_size=16, vocab_size=8)  # fmt: skip
    whole = Blip2Config(vision_config=seen.to_dict(), qformer_config=former.to_dict(), num_query_tokens=4)
    Blip2VisionModelWithProjection(whole).save_pretrained(folder / "blip")
    HubertModel(
        HubertConfig(hidden_size=24, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16, conv_dim=[8] * 7,
                     num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
    ).save_pretrained(folder / "hubert")  # fmt: skip
    return str(folder / "blip"), str(folder / "hubert")


def test_clips_go_through_frozen_encoders(tmp_path: Path) -> None:
    """Frames and sound as they are; the features of the encoders, given ready, lead to the same answers."""
    blip, hubert = _small_encoders(tmp_path)
    widths: dict[str, Any] = {"patches": 4, "seen": 12, "heard": 24, "former": 12, "heads": 2, "clips": 2, "frames": 2}
    own = system(features="clips", visual=blip, acoustic=hubert, **widths)
    batch = own.example(2)
    assert batch["video"].shape == (2, 2, 3, 224, 224)
    assert batch["audio"].shape == (2, 2, 32000)
    ready = system(features="tower", **widths)
    ready.load_state_dict(own.state_dict())
    mask = torch.ones(2, 2, dtype=torch.bool)
    with torch.no_grad():
        found = own(batch)["nll"]
        towers = {key: own.model.encoders[key](batch[key], mask).values for key in ("video", "audio")}
        made = {"video": towers["video"].view(2, 2, 4, 12), "audio": towers["audio"]}
        torch.testing.assert_close(ready({**batch, **made})["nll"], found, atol=1e-5, rtol=1e-5)
    assert not any(p.requires_grad for p in own.model.encoders.parameters())
    with pytest.raises(ModelError, match="cannot be loaded as BLIP-2"):
        system(features="clips", visual=str(tmp_path / "nothing"), acoustic=hubert, **widths)


@pytest.mark.sheet("only the listed modules have grads")
def test_only_the_branches_learn_on_a_frozen_base() -> None:
    own = system(rank=0, learn_head=False).train()
    learns = {name for name, p in own.named_parameters() if p.requires_grad}
    assert learns
    assert all(name.startswith(("model.connectors.audio.", "model.connectors.video.")) for name in learns)
    assert {name.split(".")[3] for name in learns} >= {"queries", "position", "former", "project"}
    batch = own.example(2)
    own.losses(batch, own(batch))["answer"].backward()
    assert all((p.grad is not None) == (name in learns) for name, p in own.named_parameters())


def _overlap(reference: str, candidate: str) -> float:
    first, second = set(extract_words(reference).words), set(extract_words(candidate).words)
    return 10 * len(first & second) / max(1, len(first | second))


@pytest.mark.corpus
@pytest.mark.sheet("Judge adapter with a stub: gold text 10, with one modality removed < 10, another clip lowest")
def test_clue_overlap_with_a_stub(shared_data: Path) -> None:
    asked: list[dict[str, str]] = []

    def reply(_messages: Any) -> str:
        return f"score: {_overlap(asked[-1]['reference'], asked[-1]['candidate'])}; reason: shared words"

    judge = Judge(LocalClient("stub", reply), load_prompt("judge/clue_overlap"), lambda text: parse_number(text, 0, 10))
    gold = "The voice trembles and sounds anxious. The face looks sad."
    scores = []
    for candidate in (gold, "The face looks sad.", "He laughs, delighted and happy."):
        asked.append({"reference": gold, "candidate": candidate})
        scores.append(judge.ask(**asked[-1]).value)
    assert scores[0] == 10
    assert scores[0] > scores[1] > scores[2] == 0
    with (shared_data / "emer" / "gt-eng.csv").open(encoding="utf-8-sig", newline="") as stream:
        texts = [row["reasons"] for row in csv.DictReader(stream)]
    own = [label_agreement(text, text) for text in texts]
    known = [value for value in own if value == value]
    assert len(known) > 80, "most explanations conclude an emotion that a wheel knows"
    assert min(known) == pytest.approx(10)
    others = [label_agreement(text, texts[i - 1]) for i, text in enumerate(texts)]
    assert sum(v for v in others if v == v) / len(known) < 6


def test_offline_label_agreement_by_hand() -> None:
    assert label_agreement("Therefore he is angry.", "She seems furious.") == pytest.approx(10)
    assert label_agreement("Therefore he is angry.", "She is not angry but happy.") == 0
    assert label_agreement("Nothing to see.", "angry") != label_agreement("Nothing to see.", "angry"), "NaN"


def _published_layout(own: EMER) -> dict[str, Tensor]:
    """The tiny branches under the names that the public code gives them."""
    names = {"former.": "Qformer.bert.", "queries": "query_tokens", "position.": "position_embedding."}
    state = {}
    for key, value in own.state_dict().items():
        branch, _, rest = key.removeprefix("model.connectors.").partition(".")
        if rest.startswith("project."):
            state[("llama_proj." if branch == "video" else "audio_llama_proj.") + rest.removeprefix("project.")] = value
            continue
        for mine, theirs in names.items():
            if rest.startswith(mine):
                frame = "frame_" if (branch, mine) == ("video", "position.") else ""
                tail = rest.removeprefix(mine).replace("layernorm", "embeddings.LayerNorm")
                tail = tail.replace("attention.attention.", "attention.self.")
                state[f"{branch}_{frame}{theirs}{tail}"] = value
    return state


def test_published_layout_is_read_back() -> None:
    own = system(rank=0, learn_head=False)
    state = _published_layout(own)
    assert "video_Qformer.bert.encoder.layer.1.crossattention.self.query.weight" in state
    assert "video_frame_position_embedding.weight" in state
    found = EMER.from_published({"model": state}, own.config)
    for key, value in own.state_dict().items():
        assert torch.equal(found.state_dict()[key], value), key
    with pytest.raises(ModelError, match=r"1 missing .*audio\.queries"):
        EMER.from_published({k: v for k, v in state.items() if k != "audio_query_tokens"}, own.config)
    with pytest.raises(ModelError, match=r"1 unexpected \(visual_encoder\.x\)"):
        EMER.from_published({**state, "visual_encoder.x": torch.zeros(1)}, own.config)


WORDS = (("angry", "sad"), ("happy", "surprised"))


def _bits(own: EMER, count: int, seed: int) -> dict[str, Any]:
    """Clips whose emotion needs both: the bit of the video chooses the pair, that of the sound the one of it."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(0, 2, (count, 2), generator=generator)
    axes = torch.randn(2, 24, generator=torch.Generator().manual_seed(9))
    signs = (2.0 * bits - 1)[:, :, None, None]
    video = signs[:, 0] * axes[0, :16] + 0.3 * torch.randn(count, 8, 16, generator=generator)
    audio = signs[:, 1] * axes[1] + 0.3 * torch.randn(count, 8, 24, generator=generator)
    named = [WORDS[v][a] for v, a in bits.tolist()]
    return {"video": video, "audio": audio, "record": [{"name": "", "reason": word} for word in named]}


def _hits(hidden: str, steps: int = 160) -> float:
    """Share of held-out clips whose word is the likeliest of the four after training; `hidden` is zero throughout."""
    torch.manual_seed(0)
    own = EMER(Config.tiny()).train()
    optimizer = torch.optim.AdamW([p for p in own.parameters() if p.requires_grad], 3e-3, weight_decay=0.0)
    for step in range(steps):
        learn = _shown(_bits(own, 24, 1000 + step), hidden)
        optimizer.zero_grad()
        own.losses(learn, own(learn))["answer"].backward()
        optimizer.step()
    own.eval()
    held, flat = _shown(_bits(own, 48, 99), hidden), [word for pair in WORDS for word in pair]
    with torch.no_grad():
        costs = torch.stack([own({**held, "answer": [word] * 48})["nll"] for word in flat])
    named = [flat[i] for i in costs.argmin(0).tolist()]
    return sum(r["reason"] == word for r, word in zip(held["record"], named, strict=True)) / len(named)


def _shown(batch: dict[str, Any], hidden: str) -> dict[str, Any]:
    return {key: torch.zeros_like(value) if key == hidden else value for key, value in batch.items()}


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.sheet("Tiny tri-modal model on clips where the answer needs audio AND video beats both with one zeroed")
def test_needs_what_it_hears_and_what_it_sees() -> None:
    whole, deaf, blind = _hits(""), _hits("audio"), _hits("video")
    assert whole > 0.9, (whole, deaf, blind)
    assert max(deaf, blind) < 0.7, f"one bit of two is known: {deaf}, {blind}"

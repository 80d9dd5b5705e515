"""MoSEAR's two parts on clips whose picture and sound disagree: a tiny two-modality language model that leans on sound.

A clip shows one of four classes in two visual and eight sound tokens with noise; in what the backbone learns from, the
sound tells the truth in 95 % of the clips and the picture in 80 %. Each modality also says whether it is plain or
masked (one fixed direction, plus or minus), which means nothing in the backbone's material.

The sheet also expects the gain of experts to shrink without the loss on modality weights. It does not here: with 60
steps the weights stay near one half by themselves, and seeds 0 and 1 gain 4 to 7 points more without it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from affectus.lm.adapters import add_lora, lora_settings
from affectus.lm.chassis import AffectiveLM
from affectus.lm.config import AffectiveLMConfig, Branch, Encoder
from affectus.lm.modality_experts import add_experts, expert_losses, expert_settings, parameter_count
from affectus.lm.reallocation import Reallocation
from affectus.lm.reliance import sweep
from affectus.lm.toy import toy_language_model

CLASSES, WIDTH, SEEN, HEARD = 4, 12, 2, 8
LOOKS = torch.randn(2, CLASSES, WIDTH, generator=torch.Generator().manual_seed(7))
PLAIN = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(8))
IDS = torch.tensor([2] + [0] * (SEEN + HEARD) + [3])
PLACES = torch.tensor([0] + [1] * SEEN + [2] * HEARD + [0])
SEEDS = (0, 1, 2)

Clips = tuple[Tensor, Tensor, Tensor]


def clips(count: int, random: torch.Generator, subset: str = "") -> Clips:
    """Visual tokens, sound tokens and classes. In conflicts what is wrong is masked; `subset` "" is the backbone's
    material."""
    truth = torch.randint(CLASSES, (count,), generator=random)

    def wrong() -> Tensor:
        return (truth + torch.randint(1, CLASSES, (count,), generator=random)) % CLASSES

    def chance(share: float) -> Tensor:
        return torch.rand(count, generator=random) < share

    if subset:
        right = torch.tensor([subset != "audio-aligned", subset != "video-aligned"]).unsqueeze(1).expand(2, count)
        plain = right
    else:
        right = torch.stack([chance(0.8), chance(0.95)])
        plain = torch.stack([chance(0.5), chance(0.5)])
    parts = []
    for m, tokens in enumerate((SEEN, HEARD)):
        shown = LOOKS[m][torch.where(right[m], truth, wrong())] + (2.0 * plain[m] - 1).unsqueeze(1) * PLAIN[m]
        parts.append(shown.unsqueeze(1) + torch.randn(count, tokens, WIDTH, generator=random))
    return parts[0], parts[1], truth


def logits(model: AffectiveLM, seen: Tensor, heard: Tensor) -> Tensor:
    count = len(seen)
    media = {"frame": (seen, torch.ones(count, SEEN).bool()), "audio": (heard, torch.ones(count, HEARD).bool())}
    found = model(
        input_ids=IDS.expand(count, -1), modality_ids=PLACES.expand(count, -1), media=media, use_cache=False,
        attention_mask=torch.ones(count, len(IDS)).long(),
    ).logits  # fmt: skip
    return found[:, -1, 4 : 4 + CLASSES]


def learn(model: AffectiveLM, material: Any, steps: int, gate: float | None = None) -> None:
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    model.train()
    for _ in range(steps):
        seen, heard, truth = material()
        loss = cross_entropy(logits(model, seen, heard), truth)
        if gate is not None:
            extra = expert_losses(model)
            loss = loss + gate * extra["balance"] + 0.01 * extra["load"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


@lru_cache(maxsize=4)
def backbone(seed: int) -> AffectiveLM:
    torch.manual_seed(seed)
    branches = {name: Branch((name,), "mlp", options={"depth": 1}) for name in ("frame", "audio")}
    config = AffectiveLMConfig(
        encoders={"frame": Encoder(WIDTH), "audio": Encoder(WIDTH)}, branches=branches, train_base=True
    )
    model = AffectiveLM.build(config, toy_language_model(4 + CLASSES, 32, 3, seed=seed, positions=32))
    random = torch.Generator().manual_seed(seed)
    learn(model, lambda: clips(64, random), 200)
    return model.requires_grad_(False)


@torch.no_grad()
def accuracies(model: AffectiveLM, seed: int) -> dict[str, float]:
    found = {}
    for subset in ("video-aligned", "audio-aligned", "consistent"):
        seen, heard, truth = clips(400, torch.Generator().manual_seed(1000 + seed), subset)
        found[subset] = float((logits(model, seen, heard).argmax(1) == truth).float().mean())
    return found


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.sheet(
    "A two-modality classifier trained with audio 95 % and visual 80 % right becomes audio-biased (< .4)"
)
@pytest.mark.sheet(
    "AR sweep: visual-aligned accuracy is non-decreasing in rho until consistent accuracy falls by 1 point"
)
def test_reallocation_recovers_the_neglected_modality() -> None:
    for seed in SEEDS:
        model = backbone(seed)
        plain = accuracies(model, seed)
        assert plain["video-aligned"] < 0.4, plain
        assert min(plain["audio-aligned"], plain["consistent"]) > 0.9, plain
        settings = Reallocation(("frame",), ("audio",), high=0.5, layers=(0, 1, 2))
        curve = sweep(model, settings, (0, 0.25, 0.5, 0.75, 1), lambda: accuracies(model, seed))  # noqa: B023
        told = [{name: round(value, 3) for name, value in point.items()} for point in curve]
        assert curve[0] == {"rho": 0.0, **plain}
        held = [point for point in curve if point["consistent"] > plain["consistent"] - 0.01]
        for before, after in pairwise(held):
            assert after["video-aligned"] >= before["video-aligned"], told
        assert held[-1]["video-aligned"] > plain["video-aligned"] + 0.2, told


def tuned(seed: int, way: str) -> dict[str, float]:
    """The frozen backbone with one adapter ("shared") or with experts of the same size, tuned on 240 clips of which few
    are video-aligned, as in corpora where the voice mostly decides."""
    model = copy.deepcopy(backbone(seed))
    layers, rank, experts = ("q_proj", "v_proj"), 2, 3
    torch.manual_seed(seed)
    if way == "shared":
        size = parameter_count(32, 32, rank, experts) + parameter_count(32, 16, rank, experts)
        own = round(size / (32 + 32 + 32 + 16))
        add_lora(model.language_model, lora_settings(own, 2 * own, 0.0, layers))
        model.connectors.requires_grad_(False)
    else:
        # Weights of modalities and gates start at 1/2 and 1/3: six times alpha makes first steps as large as above.
        add_experts(model, expert_settings(("frame",), ("audio",), rank, 12.0, experts, 0.0, layers))
    learnt = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert abs(learnt - 3 * 1344) < 60, "both ways learn equally many weights"
    random = torch.Generator().manual_seed(50 + seed)
    shares: Mapping[str, float] = {"video-aligned": 0.1, "audio-aligned": 0.3, "consistent": 0.6}
    made = [clips(round(240 * share), random, subset) for subset, share in shares.items()]
    seen, heard, truth = (torch.cat(parts) for parts in zip(*made, strict=True))

    def material() -> Clips:
        rows = torch.randint(len(truth), (48,), generator=random)
        return seen[rows], heard[rows], truth[rows]

    learn(model, material, 60, {"experts": 0.1, "free": 0.0}.get(way))
    return accuracies(model, seed)


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.sheet(
    "MoSE raises the visual-aligned accuracy by >= 10 points, audio-aligned within 3, against plain LoRA"
)
def test_experts_against_one_shared_adapter_of_equal_size() -> None:
    """Mean over three seeds; the margins are those of the sheet.

    The material (one conflict in ten follows the face, 60 steps) was settled on seeds 0 and 1, so others decide.
    """
    shared, experts = ([tuned(seed, way) for seed in (2, 3, 4)] for way in ("shared", "experts"))

    def mean(results: list[dict[str, float]], subset: str) -> float:
        return sum(result[subset] for result in results) / len(results)

    gains = {name: mean(experts, name) - mean(shared, name) for name in shared[0]}
    assert gains["video-aligned"] >= 0.1, (gains, shared, experts)
    assert gains["audio-aligned"] >= -0.03, (gains, shared, experts)
    assert gains["consistent"] >= -0.03, (gains, shared, experts)

"""UniEmoX: distillation and fusion, measured against plain masked modelling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from affectus.systems.uniemox import Config, UniEmoX, UniEmoXPretraining

TINY = Config.tiny()


#: Without CLIP: its features come with the batch.
PLAIN = replace(TINY, teacher=None)


def finetuning(config: Config = TINY, seed: int = 0) -> UniEmoX:
    torch.manual_seed(seed)
    return UniEmoX(config)


def person_and_place(random: np.random.Generator, count: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """Pictures whose class is (person, place): one of two small marks in a corner, on one of two stripe directions."""
    person, place = random.integers(0, 2, count), random.integers(0, 2, count)
    y, x = np.mgrid[0:32, 0:32] / 32
    stripes = np.sin(2 * np.pi * 3 * np.where(place[:, None, None] == 0, x, y) + random.uniform(0, 6, (count, 1, 1)))
    pictures = 0.6 * stripes[:, None] + random.normal(0, 0.6, (count, 3, 32, 32))
    mark = np.sin(2 * np.pi * 4 * np.where(person[:, None, None] == 0, x + y, x - y)[:, :8, :8] * 2)
    pictures[:, :, 4:12, 20:28] = 1.5 * mark[:, None] + random.normal(0, 0.6, (count, 3, 8, 8))
    whole = torch.from_numpy(pictures.astype(np.float32))
    crops = torch.nn.functional.interpolate(whole[:, :, 4:12, 20:28], (32, 32), mode="bilinear")
    return whole, crops, 2 * person + place


def probed(components: tuple[str, ...], seed: int) -> float:
    """Accuracy of a ridge probe with 24 labels on features pre-trained with these losses.

    The teacher stands in for CLIP: an embedding per class, with noise.
    """
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    system = UniEmoXPretraining(replace(PLAIN, components=components))
    optimizer = torch.optim.AdamW([p for p in system.parameters() if p.requires_grad], 2e-3)
    meaning = torch.from_numpy(np.linalg.qr(random.normal(size=(24, 24)))[0][:4].astype(np.float32))
    for _ in range(250):
        image, person, label = person_and_place(random, 48)
        wanted = meaning[label] + 0.05 * torch.from_numpy(random.normal(size=(48, 24)).astype(np.float32))
        batch = {"image": image, "person": person, "teacher_image": wanted, "teacher_text": meaning[label]}
        optimizer.zero_grad()
        sum(system.losses(batch, system(batch)).values()).backward()  # type: ignore[union-attr]
        optimizer.step()
    tuned = finetuning(PLAIN).eval()
    tuned.initialise(system.state_dict())
    (few, _, known), (asked, _, truth) = person_and_place(random, 24), person_and_place(random, 400)
    with torch.no_grad():
        shown, tested = (tuned({"image": part})["embedding"].double() for part in (few, asked))
    centre = shown.mean(0)
    shown, tested = shown - centre, tested - centre
    targets = torch.nn.functional.one_hot(torch.from_numpy(known), 4).double()
    kernel = shown @ shown.T + 1.0 * torch.eye(len(shown))
    guess = (tested @ shown.T @ torch.linalg.solve(kernel, targets - targets.mean(0))).argmax(1)
    return float((guess.numpy() == truth).mean())


@pytest.mark.slow
@pytest.mark.learning
@pytest.mark.sheet("Class depends on a small person patch and background together → distilled initialisation + fusion "
                   "beats MAE-only initialisation in a linear probe with few labels")  # fmt: skip
def test_distillation_helps_a_probe_with_few_labels() -> None:
    both = [probed(("mae", "similarity", "profile", "fusion"), seed) for seed in range(3)]
    alone = [probed(("mae",), seed) for seed in range(3)]
    assert np.mean(both) > np.mean(alone) + 0.05, (both, alone)

"""MCTN: translation there and back against a loop, a feature of the source alone, and what translating teaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from affectus.nn.cyclic_translation import TranslationFusion, Translator, last_step
from affectus.nn.utterance_fusion import from_first_step

EVERYBODY = torch.ones(4, 3, dtype=torch.bool)


def steps(seed: int = 0) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 6, size, generator=draw) for size in (5, 3, 4)]


def fusion(lead: int = 1, **settings: float) -> TranslationFusion:
    torch.manual_seed(1)
    return TranslationFusion((5, 3, 4), 6, lead, 0.0, **settings).eval()  # type: ignore[arg-type]


def test_padding_goes_from_the_front_to_the_end() -> None:
    x = torch.tensor([[0, 0, 1, 2], [3, 4, 5, 6]])[..., None]
    assert from_first_step(x, torch.tensor([2, 4]))[..., 0].tolist() == [[1, 2, 0, 0], [3, 4, 5, 6]]
    real = torch.tensor([[True, True, False, False], [True] * 4])
    assert last_step(from_first_step(x, real.sum(1)), real)[:, 0].tolist() == [2, 6]


def test_decoder_is_attention_and_a_cell_step_by_step() -> None:
    torch.manual_seed(0)
    net, x, target = Translator(5, 3, 6, 0.0, 0.0, True).eval(), torch.randn(1, 4, 5), torch.randn(1, 3, 3)
    codes = net.encode(x)
    found = net.decode(codes, torch.ones(1, 4, dtype=torch.bool), target)[0]
    state, said = codes[0, -1], torch.zeros(3)
    for k in range(3):
        scores = codes[0] @ (net.ask.weight @ state)
        heard = (scores.exp() / scores.exp().sum()) @ codes[0]
        state = net.cell(torch.cat([net.enter[1](said), heard])[None], state[None])[0]
        said = net.leave[0](torch.cat([state, heard]))
        torch.testing.assert_close(found[k], said)


def test_forced_steps_read_what_they_should_have_said() -> None:
    torch.manual_seed(0)
    net, x = Translator(5, 3, 6, 0.0, 1.0, False), torch.randn(2, 4, 5)
    real, target = torch.ones(2, 4, dtype=torch.bool), torch.randn(2, 3, 3)
    codes = net.encode(x)
    first = net.decode(codes, real, target)
    other = torch.cat([target[:, :1] + 1, target[:, 1:]], 1)
    changed = net.decode(codes, real, other)
    torch.testing.assert_close(changed[:, 0], first[:, 0])
    assert (changed[:, 1] - first[:, 1]).abs().min() > 0
    net.eval()
    torch.testing.assert_close(net.decode(codes, real, target), net.decode(codes, real, other), atol=0, rtol=0)


def test_losses_of_both_directions() -> None:
    net, x = fusion(weight=0.5), steps()
    _, losses = net(x, EVERYBODY)
    source, first, second = x[1], x[0], x[2]
    real = torch.ones(4, 6, dtype=torch.bool)
    there, on = net.translators
    codes = there.encode(source)
    made = there.decode(codes, real, first)
    again = there.decode(there.encode(made, back=True), real, source, back=True)
    further = on.decode(on.encode(codes), real, second)
    torch.testing.assert_close(
        losses["translated"], 0.5 * ((made - first).square().mean() + (further - second).square().mean())
    )
    torch.testing.assert_close(losses["returned"], 0.5 * (again - source).square().mean())
    assert len(on.leave) == 1, "only the first pair is translated back"


def test_padding_changes_neither_feature_nor_losses() -> None:
    net, x = fusion(), steps()
    for rows in x:
        rows[1, :3] = 0
    longer = [torch.cat([torch.zeros(4, 2, rows.shape[2]), rows], 1) for rows in x]
    (feature, losses), (same, also) = net(x, EVERYBODY), net(longer, EVERYBODY)
    torch.testing.assert_close(same, feature)
    assert {k: v.item() for k, v in also.items()} == pytest.approx({k: v.item() for k, v in losses.items()}, rel=1e-5)
    torch.testing.assert_close(net([rows[1:2, 3:] for rows in x], EVERYBODY[:1])[0], feature[1:2])


def test_the_feature_comes_from_the_source_alone() -> None:
    net, x = fusion(), steps()
    feature = net(x, EVERYBODY)[0]
    alone = EVERYBODY & torch.tensor([False, True, False])
    for given, there in (
        ([-3 * x[0], x[1], x[2] + 7], EVERYBODY),
        (x, alone),
        ([torch.zeros(4, 1, 5), x[1], torch.zeros(4, 1, 4)], alone),
    ):
        torch.testing.assert_close(net(given, there)[0], feature, atol=0, rtol=0)
    assert {name: value.item() for name, value in net(x, alone)[1].items()} == {"translated": 0.0, "returned": 0.0}
    unheard = net(x, EVERYBODY & torch.tensor([True, False, True]))[0]
    torch.testing.assert_close(unheard, unheard[:1].expand_as(unheard), msg="without its source it can tell nothing")


def test_items_without_a_side_of_a_translation_do_not_count() -> None:
    net, x = fusion(), steps()
    part = EVERYBODY.clone()
    part[3] = torch.tensor([True, False, True])
    part[2] = torch.tensor([False, True, False])
    losses, wanted = net(x, part)[1], net([rows[:2] for rows in x], EVERYBODY[:2])[1]
    for name, value in wanted.items():
        torch.testing.assert_close(losses[name], value)


def test_every_parameter_learns() -> None:
    net = fusion()
    feature, losses = net(steps(), EVERYBODY)
    (feature.square().sum() + losses["translated"] + losses["returned"]).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def told(count: int, seed: int) -> tuple[list[Tensor], Tensor]:
    """Words in which one direction of 16, drowned in noise, holds the class; a voice that says it plainly."""
    random = np.random.default_rng(seed)
    direction = np.random.default_rng(5).normal(size=16)
    label = random.integers(0, 2, count)
    sign = (2.0 * label - 1)[:, None, None]
    words = random.normal(size=(count, 4, 16)) + 0.8 * sign * direction / np.linalg.norm(direction)
    voice = sign + 0.3 * random.normal(size=(count, 4, 3))
    return [torch.from_numpy(part.astype("f4")) for part in (words, voice)], torch.from_numpy(label)


@pytest.mark.learning
def test_translating_teaches_words_what_a_voice_knows() -> None:
    """Ten labels, 400 clips with both modalities, words alone in use; against training without the translations."""
    found: dict[float, list[float]] = {0.0: [], 1.0: []}
    together, alone = torch.ones(400, 2, dtype=torch.bool), torch.tensor([[True, False]]).expand(400, 2)
    for weight, scores in found.items():
        for seed in range(4, 8):
            torch.manual_seed(seed)
            net, head = TranslationFusion((16, 3), 16, 0, 0.0, weight, 0.3), nn.Linear(16, 2)
            (x, label), (fresh, wanted) = told(400, seed), told(400, seed + 100)
            known = torch.where(torch.arange(400) < 10, label, -100)
            optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], 1e-2)
            for _ in range(15):
                for part in torch.randperm(400).split(100):
                    optimizer.zero_grad()
                    feature, losses = net([rows[part] for rows in x], together[part])
                    wrong = nn.functional.cross_entropy(head(feature), known[part], reduction="sum")
                    (
                        wrong / (known[part] >= 0).sum().clamp(min=1) + losses["translated"] + losses["returned"]
                    ).backward()
                    optimizer.step()
            net.eval()
            with torch.no_grad():
                guess = head(net(fresh, alone)[0]).argmax(1)
                assert torch.equal(guess, head(net(fresh, together)[0]).argmax(1))
            scores.append(float((guess == wanted).float().mean()))
    assert np.mean(found[1.0]) >= np.mean(found[0.0]) + 0.02, found

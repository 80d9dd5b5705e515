"""Several answers to one prompt: read once, they are what they would be one by one."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from affectus.lm.drawing import draw, inside, log_probabilities, shared_weights  # noqa: E402
from affectus.lm.toy import toy_tokenizer  # noqa: E402
from affectus.systems.affectgpt import AffectGPT, Config  # noqa: E402


@pytest.fixture(scope="module")
def asked() -> tuple[Any, dict[str, Any]]:
    """A system with media in its prompts, of different lengths, and three prompts."""
    torch.manual_seed(0)
    own = AffectGPT(Config.tiny()).eval()
    batch = own.example(3)
    batch["text"][1] = "A much longer sentence than the others, so that they are padded."
    return own, own.asked(own.conversations(batch, own.kinds(batch)))


def _apart(prompts: dict[str, Any], times: int) -> dict[str, Any]:
    media = {name: tuple(part.repeat_interleave(times, 0) for part in pair) for name, pair in prompts["media"].items()}
    return {k: v.repeat_interleave(times, 0) for k, v in prompts.items() if k != "media"} | {"media": media}


def test_shared_prompts_give_the_same_log_probabilities_and_gradients(asked: Any) -> None:
    own, prompts = asked
    ids = torch.randint(5, 300, (6, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[1] * 7, [1] * 3 + [0] * 4] * 3)
    weights = [p for p in own.parameters() if p.requires_grad]
    found = []
    for given in (prompts, _apart(prompts, 2)):
        values = log_probabilities(own.model, given, ids, mask)
        found.append((values.detach(), torch.autograd.grad(values.sum(), weights, allow_unused=True)))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=1e-5)
    assert float(found[0][0][1, 3:].abs().max()) == 0
    for shared, apart in zip(found[0][1], found[1][1], strict=True):
        assert (shared is None) == (apart is None)
        if shared is not None:
            torch.testing.assert_close(shared, apart, atol=1e-4, rtol=1e-3)


def test_shared_prompts_give_the_same_answers(asked: Any) -> None:
    own, prompts = asked
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": 1}
    together = draw(own.model, prompts, 2, **options)
    alone = draw(own.model, prompts, 1, **options)
    assert torch.equal(together, alone.repeat_interleave(2, 0))


def test_tokens_inside_a_block() -> None:
    tokenizer = toy_tokenizer(["<think>fast</think><answer>happy, calm</answer>"] * 5, 300)
    texts = ["<think>fast</think><answer>happy</answer>", "<answer>calm</answer>", "<think>no end"]
    rows = [tokenizer(text)["input_ids"] for text in texts]
    width = max(map(len, rows)) + 2
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    found = inside(tokenizer, ids, mask, "think")
    words = [tokenizer.decode([i for i, kept in zip(row, own, strict=True) if kept]).strip()
             for row, own in zip(ids.tolist(), found.tolist(), strict=True)]  # fmt: skip
    assert all(a in b for a, b in zip(words, ("fast", "", "no end"), strict=True)), words
    assert [bool(text) for text in words] == [True, False, True]
    assert torch.equal(inside(tokenizer, ids, mask, ""), mask.bool())


@pytest.mark.sheet("same summed advantage for every reward, but for the AU term the mask is the tokens inside think")
def test_shared_weights_are_the_mean_of_losses_with_their_own_masks() -> None:
    tokenizer = toy_tokenizer(["<think>AU4</think><answer>angry</answer>"] * 5, 300)
    ids = torch.tensor([tokenizer("<think>AU4</think><answer>angry</answer>")["input_ids"]])
    mask, values = torch.ones_like(ids), torch.randn(ids.shape, generator=torch.Generator().manual_seed(0))
    think = inside(tokenizer, ids, mask, "think").float()
    assert 0 < int(think.sum()) < ids.shape[1]
    wanted = (values.mean() + (values * think).sum() / think.sum() + values.mean()) / 3
    weights = shared_weights(tokenizer, ids, mask, ["", "think", ""])
    torch.testing.assert_close((values * weights).sum(), wanted)
    assert float(weights.sum()) == pytest.approx(1)

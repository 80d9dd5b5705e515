"""Learnt prompts: what is where, for every position of the class text."""

from __future__ import annotations

import pytest
import torch

from affectus.errors import ConfigError, ModelError
from affectus.nn.clip_tokens import ClipTokenizer, clip_tokenizer
from affectus.nn.prompts import LearntPrompts, recovered_ids, with_placeholders

TEXTS = ["ab", "abcd"]


def prompts(position: str = "end", specific: bool = True) -> tuple[LearntPrompts, torch.Tensor, torch.Tensor]:
    ids = ClipTokenizer.of_bytes()(with_placeholders(TEXTS, 4), 14)
    table = torch.randn(514, 6, generator=torch.Generator().manual_seed(0))
    return LearntPrompts(ids, table[ids], 4, specific, position), ids, table  # type: ignore[arg-type]


def test_placeholders() -> None:
    assert with_placeholders(["joy"], 3) == ["X X X joy"]
    assert with_placeholders(["joy"], 0) == ["joy"]


@pytest.mark.parametrize(("position", "ahead"), [("end", 4), ("middle", 2), ("front", 0)])
@pytest.mark.parametrize("specific", [True, False])
def test_context_stands_around_the_class_text(position: str, ahead: int, specific: bool) -> None:
    part, ids, table = prompts(position, specific)
    found = part()
    assert found.shape == (2, 14, 6)
    for k, text in enumerate(TEXTS):
        context = part.context[k] if specific else part.context
        name = table[ids[k, 5 : 5 + len(text)]]
        wanted = torch.cat([table[ids[k, :1]], context[:ahead], name, context[ahead:], table[ids[k, 5 + len(text) :]]])
        torch.testing.assert_close(found[k], wanted)
        assert ids[k, part.read_out[k]] == 513, "the end token stays where it is"


def test_only_the_context_learns_and_only_frozen_rows_are_buffers() -> None:
    part, _, _ = prompts()
    assert [name for name, _ in part.named_parameters()] == ["context"]
    assert set(part.state_dict()) == {"context", "token_prefix", "token_suffix"}
    part().sum().backward()
    assert torch.equal(part.context.grad, torch.ones_like(part.context))  # type: ignore[arg-type]


def test_other_embeddings_are_taken() -> None:
    part, ids, table = prompts()
    part.take(2 * table[ids])
    torch.testing.assert_close(part()[:, 5:], 2 * table[ids][:, 5:])
    torch.testing.assert_close(part()[:, :1], 2 * table[ids][:, :1])


def test_bad_sizes_are_named() -> None:
    ids = torch.tensor([[1, 9, 0, 0]])
    with pytest.raises(ConfigError, match="ends within the 2 context words"):
        LearntPrompts(ids, torch.zeros(1, 4, 3), 2)
    with pytest.raises(ConfigError, match="do not match"):
        LearntPrompts(ids, torch.zeros(1, 5, 3), 1)


def test_ids_are_read_off_embeddings() -> None:
    table = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[3, 49, 0], [7, 7, 12]])
    assert torch.equal(recovered_ids(table[ids], table), ids)
    with pytest.raises(ModelError, match="differs from every token"):
        recovered_ids(table[ids] + 0.01, table)


def test_a_tokenizer_must_belong_to_its_tower() -> None:
    assert clip_tokenizer("", 514).vocabulary == 514
    with pytest.raises(ConfigError, match="no_such_file"):
        clip_tokenizer("no_such_file", 514)

"""Answers to prompts, token by token: drawing them, how likely each token was, and which tokens a reward is about.

Several answers to one prompt share it: prompts (B) are read once and their attention memory is handed to all answers
(B * group), which for short answers to long prompts is most of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def draw(model: Any, asked: Mapping[str, Any], group: int = 1, **options: Any) -> Tensor:
    """Token ids (B * group, L) that follow prompts `asked` (`input_ids`, `attention_mask`, `modality_ids`, `media` as
    the chassis takes them), `group` in a row per prompt; `options` are those of `generate`."""
    given = dict(asked)
    if group > 1:
        # All but the last token of a prompt, which is text and asks for the first token of the answer.
        read = {name: value if name == "media" else value[:, :-1] for name, value in asked.items()}
        with torch.no_grad():
            memory = model(**read, use_cache=True, logits_to_keep=1).past_key_values
        memory.batch_repeat_interleave(group)
        given = {name: value.repeat_interleave(group, 0) for name, value in asked.items() if name != "media"}
        options["past_key_values"] = memory
    with torch.no_grad():
        found: Tensor = model.generate(**given, **options)
    return found[:, given["input_ids"].shape[1] :]


def log_probabilities(model: Callable[..., Any], asked: Mapping[str, Any], ids: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of every token of answers `ids` (B * group, L), `group` in a row per prompt; 0 where `mask` is.

    `model` is the chassis, or anything called like it. Differentiable.
    """
    length, group = ids.shape[1], len(ids) // len(asked["input_ids"])
    if group == 1:
        logits = model(
            input_ids=torch.cat([asked["input_ids"], ids], 1),
            attention_mask=torch.cat([asked["attention_mask"], mask], 1),
            modality_ids=functional.pad(asked["modality_ids"], (0, length)),
            media=asked["media"],
            use_cache=False,
            logits_to_keep=length + 1,
        ).logits[:, :-1]
    else:
        first = model(**asked, use_cache=True, logits_to_keep=1)
        memory = first.past_key_values
        memory.batch_repeat_interleave(group)
        rest = model(
            input_ids=ids,
            attention_mask=torch.cat([asked["attention_mask"].repeat_interleave(group, 0), mask], 1),
            modality_ids=asked["modality_ids"].repeat_interleave(group, 0),
            past_key_values=memory,
            use_cache=True,
        )
        logits = torch.cat([first.logits.repeat_interleave(group, 0), rest.logits[:, :-1]], 1)
    return -functional.cross_entropy(logits.float().transpose(1, 2), ids, reduction="none") * mask


def inside(tokenizer: Any, ids: Tensor, mask: Tensor, tag: str) -> Tensor:
    """Which tokens (B, L) of answers lie between `<tag>` and `</tag>`; all that the mask keeps for an empty tag."""
    kept = mask.bool()
    if not tag:
        return kept
    found = torch.zeros_like(kept)
    for row, own in enumerate(ids.tolist()):
        lengths = [len(tokenizer.decode(own[: i + 1])) for i in range(len(own))]
        text = tokenizer.decode(own)
        start, end = text.find(f"<{tag}>"), text.find(f"</{tag}>")
        if start < 0:
            continue
        start, end = start + len(tag) + 2, end if end >= 0 else len(text)
        begins = [0, *lengths[:-1]]
        found[row] = torch.tensor([a >= start and b <= end for a, b in zip(begins, lengths, strict=True)])
    return found & kept


def shared_weights(tokenizer: Any, ids: Tensor, mask: Tensor, tags: Sequence[str]) -> Tensor:
    """Weights (B, L) of tokens in a loss that is the mean over several rewards, each of which looks at the tokens of
    its own block alone (tag "" is the whole answer); a row adds up to 1, or to less where a block is empty.

    Facial-R1: one loss per reward with the same advantage, that of action units on the reasoning only, then the mean.
    """
    blocks = {tag: inside(tokenizer, ids, mask, tag).float() for tag in dict.fromkeys(tags)}
    shares = {tag: own / own.sum(1, keepdim=True).clamp(min=1) for tag, own in blocks.items()}
    return torch.stack([shares[tag] for tag in tags]).mean(0)

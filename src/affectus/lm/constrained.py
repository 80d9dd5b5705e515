"""Decoding that can only give labels of a list: a trie over their token ids decides which tokens may come next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from affectus.errors import ConfigError


class LabelTrie:
    """Token ids of labels as a tree.

    `lead` is the text between prompt and label (a blank, for tokenizers that glue it to words); `end` are the ids that
    may follow a complete label. With a `separator` several labels may follow each other, each once, up to `most`.
    """

    def __init__(
        self,
        tokenizer: Any,
        labels: Sequence[str],
        lead: str = "",
        separator: str = "",
        most: int = 1,
        end: Sequence[int] = (),
    ) -> None:
        if not labels or len(set(labels)) != len(labels):
            raise ConfigError("label decoding", "needs labels, each once")
        self.labels = tuple(labels)
        self.most = most if separator else 1
        self.end = tuple(end) or ((tokenizer.eos_token_id,) if tokenizer.eos_token_id is not None else ())
        if not self.end:
            raise ConfigError("label decoding", "the tokenizer has no end token", "give the ids that end an answer")

        def ids(text: str) -> tuple[int, ...]:
            return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

        self.first = {label: ids(lead + label) for label in labels}
        self.further = {label: ids(separator + label) for label in labels} if self.most > 1 else {}
        for label, own in [*self.first.items(), *self.further.items()]:
            if not own:
                raise ConfigError("label decoding", f"the label {label!r} has no tokens")

    def allowed(self, written: Sequence[int]) -> set[int]:
        """Ids that may come after the ids written so far; {} when what was written is no beginning of an answer."""
        return self._step(tuple(written), ())[0]

    def decode(self, written: Sequence[int]) -> list[str] | None:
        """Labels of a complete answer (with or without its end token), None when it is not one."""
        trimmed = tuple(written)
        while trimmed and trimmed[-1] in self.end:
            trimmed = trimmed[:-1]
        return self._step(trimmed, ())[1]

    def _step(self, rest: tuple[int, ...], done: tuple[str, ...]) -> tuple[set[int], list[str] | None]:
        table = self.further if done else self.first
        allowed: set[int] = set()
        complete: list[str] | None = None
        if done and (not rest or rest[0] in self.end):
            return ({*self.end} | self._starts(done)) if not rest else {*self.end}, list(done)
        for label, own in table.items():
            if label in done or len(done) >= self.most:
                continue
            if len(rest) < len(own):
                if own[: len(rest)] == rest:
                    allowed.add(own[len(rest)])
            elif rest[: len(own)] == own:
                more, found = self._step(rest[len(own) :], (*done, label))
                allowed |= more
                complete = complete or found
        return allowed, complete

    def _starts(self, done: tuple[str, ...]) -> set[int]:
        if len(done) >= self.most:
            return set()
        return {own[0] for label, own in self.further.items() if label not in done}


class LabelProcessor:
    """Logits processor for `generate(logits_processor=[...])`: only the tokens that the trie allows keep their scores.

    `prompt_length` is the width of the (padded) prompts. Works with sampling and beams; several rows are independent.
    """

    def __init__(self, trie: LabelTrie, prompt_length: int) -> None:
        self.trie, self.prompt_length = trie, prompt_length
        self._known: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (rows, vocabulary) with -inf at every token that leads to no label."""
        kept = torch.full_like(scores, float("-inf"))
        for row, written in enumerate(input_ids[:, self.prompt_length :].tolist()):
            places = self._places(tuple(written), scores.device)
            kept[row, places] = scores[row, places]
        return kept

    def _places(self, written: tuple[int, ...], device: torch.device) -> Tensor:
        if written not in self._known:
            allowed = self.trie.allowed(written) or set(self.trie.end)
            self._known[written] = torch.tensor(sorted(allowed), device=device)
        return self._known[written]


@torch.no_grad()
def score_labels(model: Any, tokenizer: Any, prompts: dict[str, Tensor], trie: LabelTrie) -> Tensor:
    """Log-probability of every label after every prompt, (prompts, labels); softmax gives label probabilities.

    `prompts` are the left-padded inputs of the model (`input_ids`, `attention_mask` and what else it takes). Every
    label ends with the first end id, so that a label that begins another one is no winner by being shorter.
    """
    columns = []
    width = prompts["input_ids"].shape[1]
    for label in trie.labels:
        ids = torch.tensor([*trie.first[label], trie.end[0]], device=prompts["input_ids"].device)
        rows = len(prompts["input_ids"])
        batch = dict(prompts)
        batch["input_ids"] = torch.cat([prompts["input_ids"], ids.expand(rows, -1)], 1)
        ones = torch.ones(rows, len(ids), dtype=prompts["attention_mask"].dtype, device=ids.device)
        batch["attention_mask"] = torch.cat([prompts["attention_mask"], ones], 1)
        logits = model(**batch).logits[:, width - 1 : -1].float().log_softmax(-1)
        columns.append(logits.gather(2, ids.expand(rows, -1)[..., None]).squeeze(2).sum(1))
    return torch.stack(columns, 1)

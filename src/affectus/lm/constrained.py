"""Decoding that can only give labels of a list: a trie over their token ids decides which tokens may come next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from affectus.errors import ConfigError


class LabelTrie:
    """Token ids of labels as a tree.

    `lead` is the text between prompt and label (a blank, for tokenizers that glue it to words); `end` are the ids that
    may follow a complete label. With a `separator` several labels may follow each other, each once, up to `most`; of
    labels that share a group (`groups`: label → group) only one is taken.
    """

    def __init__(
        self,
        tokenizer: Any,
        labels: Sequence[str],
        lead: str = "",
        separator: str = "",
        most: int = 1,
        end: Sequence[int] = (),
        groups: Mapping[str, str] | None = None,
    ) -> None:
        if not labels or len(set(labels)) != len(labels):
            raise ConfigError("label decoding", "needs labels, each once")
        self.labels = tuple(labels)
        self.most = most if separator else 1
        self.groups = dict(groups or {})
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
            if len(done) >= self.most or self._taken(label, done):
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
        return {own[0] for label, own in self.further.items() if not self._taken(label, done)}

    def _taken(self, label: str, done: tuple[str, ...]) -> bool:
        """Whether a label, or another one of its group, was given already."""
        group = self.groups.get(label, label)
        return any(self.groups.get(other, other) == group for other in done)


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


def score_labels(model: Any, tokenizer: Any, prompts: dict[str, Tensor], trie: LabelTrie) -> Tensor:
    """Log-probability of every label after every prompt, (prompts, labels); softmax gives label probabilities.

    `prompts` are the left-padded inputs of the model (`input_ids`, `attention_mask` and what else it takes). Every
    label ends with the first end id, so that a label that begins another one is no winner by being shorter.
    """
    return score_answers(model, prompts, [[*trie.first[label], trie.end[0]] for label in trie.labels])


@torch.no_grad()
def score_answers(model: Any, prompts: Mapping[str, Any], answers: Sequence[Sequence[int]]) -> Tensor:
    """Log-probability of every answer (token ids) after every prompt, (prompts, answers).

    The prompts go through the model once; each answer is read after what the model keeps of them, where it keeps
    something that can be cut back, and after the whole prompt where it does not.
    """
    mask = prompts["attention_mask"]
    rows = len(prompts["input_ids"])
    read = model(**prompts, use_cache=True, logits_to_keep=1)
    kept = read.past_key_values if hasattr(read.past_key_values, "crop") else None
    first = read.logits[:, -1:].float().log_softmax(-1)
    columns = []
    for answer in answers:
        ids = torch.tensor(list(answer), device=mask.device).expand(rows, -1)
        told = first
        if len(answer) > 1:
            longer = torch.cat([mask, mask.new_ones(rows, len(answer) - 1)], 1)
            batch = {**prompts, "attention_mask": longer}
            if kept is None:
                batch["input_ids"] = torch.cat([prompts["input_ids"], ids[:, :-1]], 1)
            else:
                batch |= {"input_ids": ids[:, :-1], "past_key_values": kept, "use_cache": True}
            logits = model(**batch).logits[:, -(len(answer) - 1) :]
            told = torch.cat([first, logits.float().log_softmax(-1)], 1)
            if kept is not None:
                kept.crop(1 - len(answer))
        columns.append(told.gather(2, ids[..., None]).squeeze(2).sum(1))
    return torch.stack(columns, 1)

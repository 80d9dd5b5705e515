"""Conversations and media → the tensors of `AffectiveLM`: places reserved, padded, labelled, within the token
budget."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from affectus.errors import ConfigError
from affectus.lm.budget import Fitted, TokenBudget
from affectus.lm.chat import ChatTemplate, answer_ids, stop_ids, template_of

#: Label of a token that is not learnt.
IGNORED = -100


class Processor:
    """Prepares batches for a model.

    `template` is a name of `chat.TEMPLATES` ("auto": that of the tokenizer, else ChatML). With a `budget` too long
    prompts lose frames or clips, evenly, and `notes` of the batch say so.
    """

    def __init__(self, tokenizer: Any, model: Any, template: str = "auto", budget: TokenBudget | None = None) -> None:
        self.tokenizer = tokenizer
        self.config = model.config
        self.template: ChatTemplate = template_of(tokenizer, template)
        self.budget = budget
        self._connectors = dict(model.connectors.items())
        self._grids: dict[str, tuple[int, int, int] | None] = {}
        self._patches = {name: self._patch_count(model, name) for name in self.config.encoders}
        self._markers = {self.config.branch(name).marker: name for name in self.config.branch_names}
        marks = sorted(self._markers, key=len, reverse=True)
        self._split = re.compile("|".join(re.escape(mark) for mark in marks)) if marks else None
        pad = tokenizer.pad_token_id
        self.pad_id = int(pad if pad is not None else tokenizer.eos_token_id or 0)

    def slots(
        self, media: Mapping[str, Any], branches: Sequence[str] | None = None
    ) -> tuple[dict[str, str], list[str]]:
        """Values for a prompt file by slot (`video`, `audio`, `multi` …), of the branches whose sources are all there,
        and a note for every branch that is not. `branches` is the input mode (all by default)."""
        values, notes = {}, []
        for name in branches if branches is not None else self.config.branch_names:
            branch = self.config.branch(name)
            if missing := [s for s in branch.sources if media.get(s) is None or len(media[s]) == 0]:
                notes.append(f"branch {name} dropped: there is no {' and no '.join(missing)}")
            elif branch.slot in values:
                raise ConfigError(f"branch {name}", f"fills the slot {branch.slot}, which another branch fills")
            else:
                values[branch.slot] = branch.wrap.format(branch.marker)
        return values, notes

    def encode(self, items: Sequence[Mapping[str, Any]], side: str = "left") -> dict[str, Any]:
        """A batch of items with `messages`, optional `media` (encoder name → array (T, ...)) and optional `answer`.

        Gives `input_ids`, `attention_mask`, `modality_ids` (B, L), `media`, with answers also `labels` (-100 outside
        them), and `notes` per item. Padding stands on the given side. Either all items have an answer or none.
        """
        if not items:
            raise ConfigError("batch", "has no items")
        answered = ["answer" in item and item["answer"] is not None for item in items]
        if any(answered) != all(answered):
            raise ConfigError("batch", "has items with and without an answer")
        rows, fitted = [], []
        for item in items:
            ids, places, fit = self._prompt(item)
            learnt = (
                answer_ids(self.tokenizer, item["messages"], item["answer"], self.template) if all(answered) else []
            )
            rows.append((ids + learnt, places + [0] * len(learnt), [IGNORED] * len(ids) + learnt))
            fitted.append(fit)
        batch: dict[str, Any] = {
            "input_ids": self._padded([row[0] for row in rows], self.pad_id, side),
            "attention_mask": self._padded([[1] * len(row[0]) for row in rows], 0, side),
            "modality_ids": self._padded([row[1] for row in rows], 0, side),
            "media": self._media(items, fitted),
        }
        if all(answered):
            batch["labels"] = self._padded([row[2] for row in rows], IGNORED, side)
        batch["notes"] = [list(fit.notes) for fit in fitted]
        return batch

    @staticmethod
    def inputs(batch: Mapping[str, Any], device: Any = None) -> dict[str, Any]:
        """What `forward` takes of a batch, on a device if one is given."""
        taken = {k: v for k, v in batch.items() if k != "notes"}
        if device is None:
            return taken
        media = {name: tuple(part.to(device) for part in pair) for name, pair in taken.pop("media").items()}
        return {**{k: v.to(device) for k, v in taken.items()}, "media": media}

    @staticmethod
    def asking(batch: Mapping[str, Any], device: Any = None) -> dict[str, Any]:
        """What `generate` takes of a batch of prompts, on a device if one is given."""
        if "labels" in batch:
            raise ConfigError("batch", "holds answers", "encode the items without their answers to generate")
        return Processor.inputs(batch, device)

    def stops(self) -> list[int]:
        """Token ids that end an answer, for `generate(eos_token_id=...)`."""
        return stop_ids(self.tokenizer, self.template)

    def decode(self, ids: Tensor, prompt_length: int = 0) -> list[str]:
        """Answers (texts) of generated ids (B, L), without what ends them."""
        ends = {*self.stops(), self.pad_id}
        texts = []
        for row in ids[:, prompt_length:].tolist():
            length = next((i for i, token in enumerate(row) if token in ends), len(row))
            text = self.tokenizer.decode(row[:length], skip_special_tokens=True)
            stop = self.template.stop.strip()
            texts.append(text.split(stop)[0].strip() if stop else text.strip())
        return texts

    def tokens_of(self, name: str, lengths: Mapping[str, int]) -> int:
        """Tokens that a branch gives for sources of these lengths (frames, clips)."""
        sources = self.config.branch(name).sources
        counts = [lengths.get(source, 0) * self._patches[source] for source in sources]
        grids = [self._grid(source, lengths.get(source, 0)) for source in sources]
        return int(self._connectors[name].count(counts, grids))

    def _prompt(self, item: Mapping[str, Any]) -> tuple[list[int], list[int], Fitted]:
        """Ids and modality numbers of a prompt, and the lengths of its sources after shrinking."""
        text = self.template.render(self.tokenizer, item["messages"])
        pieces = self._pieces(text)
        used = [name for name, _ in pieces if name]
        if twice := [name for name in used if used.count(name) > 1]:
            raise ConfigError(f"branch {twice[0]}", "its marker stands twice in the prompt")
        media = item.get("media") or {}
        lengths = {s: len(media[s]) for s in self.config.encoders if media.get(s) is not None and len(media[s])}
        for name in used:
            if missing := [s for s in self.config.branch(name).sources if s not in lengths]:
                raise ConfigError(
                    f"branch {name}", f"is in the prompt but there is no {missing[0]}", "drop it with slots()"
                )
        fit = Fitted(lengths)
        if self.budget is not None:
            fit = self._fitted(sum(len(ids) for name, ids in pieces if not name), lengths, used)
        ids: list[int] = []
        places: list[int] = []
        for name, own in pieces:
            if name:
                count = self.tokens_of(name, fit.lengths)
                ids += [self._filler(name)] * count
                places += [self.config.branch_names.index(name) + 1] * count
            else:
                ids += own
                places += [0] * len(own)
        return ids, places, fit

    def _fitted(self, text: int, lengths: Mapping[str, int], used: Sequence[str]) -> Fitted:
        """Lengths of the sources of the used branches that fit beside so many tokens of text."""
        assert self.budget is not None
        return self.budget.fit(text, lengths, lambda sizes: sum(self.tokens_of(name, sizes) for name in used))

    def _filler(self, name: str) -> int:
        """The token id that stands in the places of a branch."""
        return int(self.config.filler_id)

    def _pieces(self, text: str) -> list[tuple[str, list[int]]]:
        """The prompt cut at its markers: (branch, []) or ("", ids of a stretch of text)."""
        found: list[tuple[str, list[int]]] = []
        cursor = 0
        for mark in self._split.finditer(text) if self._split else ():
            found += [("", self._ids(text[cursor : mark.start()])), (self._markers[mark.group()], [])]
            cursor = mark.end()
        return [*found, ("", self._ids(text[cursor:]))]

    def _ids(self, text: str) -> list[int]:
        return [int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"]] if text else []

    def _media(self, items: Sequence[Mapping[str, Any]], fitted: Sequence[Fitted]) -> dict[str, tuple[Tensor, Tensor]]:
        """Per source: values padded to the longest item (B, T, ...) and the mask (B, T); absent rows are all
        padding."""
        media: dict[str, tuple[Tensor, Tensor]] = {}
        for source in self.config.encoders:
            lengths = [fit.lengths.get(source, 0) for fit in fitted]
            if not max(lengths, default=0):
                continue
            arrays = [
                _thinned((item.get("media") or {}).get(source), n) for item, n in zip(items, lengths, strict=True)
            ]
            shape = next(array.shape[1:] for array in arrays if array is not None)
            values = torch.zeros(len(items), max(lengths), *shape)
            mask = torch.zeros(len(items), max(lengths), dtype=torch.bool)
            for row, array in enumerate(arrays):
                if array is not None:
                    values[row, : len(array)] = array
                    mask[row, : len(array)] = True
            media[source] = (values, mask)
        return media

    def _padded(self, rows: Sequence[Sequence[int]], value: int, side: str) -> Tensor:
        width = max(len(row) for row in rows)
        out = torch.full((len(rows), width), value, dtype=torch.long)
        for i, row in enumerate(rows):
            cells = slice(width - len(row), width) if side == "left" else slice(0, len(row))
            out[i, cells] = torch.tensor(list(row), dtype=torch.long)
        return out

    def _patch_count(self, model: Any, name: str) -> int:
        """Tokens that an encoder gives per item."""
        spec = self.config.encoder(name)
        if spec.kind == "features" or spec.pool == "mean" or spec.output in ("image_embeds", "pooler_output"):
            return 1
        module = model.encoders[name].module
        if (told := getattr(module, "tokens_per_item", None)) is not None:
            return int(told)
        settings = getattr(module, "config", None)
        if spec.kind == "vision" and settings is not None and hasattr(settings, "patch_size"):
            return (settings.image_size // settings.patch_size) ** 2 + (not spec.drop_first)
        raise ConfigError(
            f"encoder {name}", "does not say how many tokens it gives", "set its attribute tokens_per_item"
        )

    def _grid(self, source: str, length: int) -> tuple[int, int, int] | None:
        side = int(self._patches[source] ** 0.5)
        return (length, side, side) if side > 1 and side * side == self._patches[source] else None


def _thinned(array: Any, length: int) -> Tensor | None:
    """Evenly chosen items of an array (T, ...) as a float tensor, None when there are none."""
    if array is None or not length:
        return None
    values = torch.as_tensor(np.asarray(array)) if not isinstance(array, Tensor) else array
    if len(values) > length:
        values = values[torch.linspace(0, len(values) - 1, length).round().long()]
    return values.float()

"""Small models as clients that cannot make things up: they choose among what the question holds.

A model of some hundred million weights writes fluent sentences that nothing supports. Here it picks and orders the
sentences of the question (`SelectingClient`), or one score of a scale (`ScoringClient`). Decoding is constrained, so
the reply is made of those, whatever the model would rather say.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from affectus.errors import ModelError
from affectus.lm.judge import JudgeTimeout
from affectus.lm.prompts import Message

#: A line of a question that holds sentences to choose from: of a list, or after the name of a channel.
_LINE = re.compile(r"^(?:- |[A-Z][\w ]{2,30}: )(?P<text>\S.*)$", re.MULTILINE)
_QUOTED = re.compile(r"“[^”]*”")
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


@contextmanager
def answering(name: str) -> Iterator[None]:
    """What goes wrong inside a model (a context that is too short, memory) as one ModelError, so that it is counted
    and the run goes on."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(name, f"gave no answer: {said}") from error


def choose(
    model: Any,
    tokenizer: Any,
    ids: Sequence[int],
    labels: Sequence[str],
    separator: str,
    most: int,
    seconds: float,
    groups: Mapping[str, str] | None = None,
) -> list[str] | None:
    """Up to `most` of some labels that a model prefers after the ids of a prompt, in its order; greedy.

    None when the time (seconds) ran out. Of labels of one group only one is taken.
    """
    import torch

    from affectus.lm.constrained import LabelProcessor, LabelTrie

    if seconds <= 0:
        return None
    trie = LabelTrie(tokenizer, labels, separator=separator, most=min(most, len(labels)), groups=groups)
    prompt = torch.tensor([list(ids)], device=model.device)
    longest = sorted((len(v) for v in (trie.further or trie.first).values()), reverse=True)[: trie.most]
    with answering(str(getattr(model, "name_or_path", "")) or "the language model"):
        out = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=sum(longest) + trie.most + 4,
            do_sample=False,
            max_time=seconds,
            eos_token_id=list(trie.end),
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else trie.end[0],
            logits_processor=[LabelProcessor(trie, prompt.shape[1])],
        )
    return trie.decode(out[0, prompt.shape[1] :].tolist())


@dataclass
class _Choosing:
    """A model, its tokenizer and name, and the seconds a reply may take."""

    model: Any
    tokenizer: Any
    name: str
    timeout: float = 60.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def _chosen(self, messages: Sequence[Message], labels: Sequence[str], separator: str, most: int) -> list[str]:
        from affectus.lm.chat import prompt_ids, template_of

        ids = prompt_ids(self.tokenizer, messages, template_of(self.tokenizer))
        started = time.monotonic()
        found = choose(self.model, self.tokenizer, ids, labels, separator, most, self.timeout)
        if found is None:
            raise JudgeTimeout(self.name, f"no answer within {time.monotonic() - started:.0f} s")
        return found


@dataclass
class SelectingClient(_Choosing):
    """Replies with up to `most` sentences of the question: those of its list lines and of its lines `Channel: …`.

    Quoted ones, which were said and not measured, are left out. ModelError when there is nothing to choose from.
    """

    most: int = 5

    @property
    def identity(self) -> dict[str, Any]:
        """Name, way of decoding, options."""
        return {"model": self.name, "decoding": "selected sentences", "most": self.most, **self.options}

    def reply(self, messages: Sequence[Message]) -> str:
        """The chosen sentences as one text."""
        asked = "\n".join(message["content"] for message in messages if message["role"] == "user")
        lines = [_QUOTED.sub(" ", found["text"]) if found["text"].startswith("“") else found["text"]
                 for found in _LINE.finditer(asked)]  # fmt: skip
        labels = list(dict.fromkeys(s.strip() for line in lines for s in _END.split(line) if s.strip()))
        if not labels:
            raise ModelError(self.name, "the question holds no sentences to choose from")
        return " ".join(self._chosen(messages, labels, " ", self.most))


@dataclass
class ScoringClient(_Choosing):
    """Replies with `{"score": n}`, n a whole number from 0 to 10."""

    @property
    def identity(self) -> dict[str, Any]:
        """Name, way of decoding, options."""
        return {"model": self.name, "decoding": "a score from 0 to 10", **self.options}

    def reply(self, messages: Sequence[Message]) -> str:
        """The score as JSON."""
        return self._chosen(messages, [f'{{"score": {n}}}' for n in range(11)], "", 1)[0]

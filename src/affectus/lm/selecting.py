"""Small models as clients that cannot make things up: they choose among what the question holds.

A model of some hundred million weights writes fluent sentences that nothing supports. Here it picks and orders the
sentences of the question (`SelectingClient`); decoding is constrained, so the reply is made of those, whatever the
model would rather say. It is no judge either: agreement is then scored by rule (`SharedSentences`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from affectus.errors import ModelError
from affectus.lm.judge import JudgeTimeout
from affectus.lm.prompts import Message

#: A line of a question that holds sentences to choose from: of a list, or after the name of a channel.
_LINE = re.compile(r"^(?:- |[A-Z][\w ]{2,30}: )(?P<text>\S.*)$", re.MULTILINE)
_DESCRIBED = re.compile(r"Description:\n(?P<description>.*?)\n\n(?P<analyses>.*?)\n\nReply", re.DOTALL)
_TOKEN = re.compile(r"\w+")
_SPOKEN = re.compile(r"\b(?:words|is said)\b", re.IGNORECASE)
_SAID = re.compile(r"^“[^”]*”")
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
class SelectingClient:
    """Replies with up to `most` sentences of the question: those of its list lines and of its lines `Channel: …`.

    A quotation at the start of a line was said and not measured, and is left out. A reply may take `timeout` seconds
    (else JudgeTimeout); ModelError when there is nothing to choose from.
    """

    model: Any
    tokenizer: Any
    name: str
    timeout: float = 60.0
    most: int = 5

    @property
    def identity(self) -> dict[str, Any]:
        """Name and way of decoding."""
        return {"model": self.name, "decoding": "selected sentences", "most": self.most}

    def reply(self, messages: Sequence[Message]) -> str:
        """The chosen sentences as one text."""
        from affectus.lm.chat import prompt_ids, template_of

        asked = "\n".join(message["content"] for message in messages if message["role"] == "user")
        lines = [_SAID.sub("", line["text"]) for line in _LINE.finditer(asked)]
        labels = list(dict.fromkeys(s.strip() for line in lines for s in _END.split(line) if s.strip()))
        if not labels:
            raise ModelError(self.name, "the question holds no sentences to choose from")
        ids = prompt_ids(self.tokenizer, messages, template_of(self.tokenizer))
        found = choose(self.model, self.tokenizer, ids, labels, " ", self.most, self.timeout)
        if found is None:
            raise JudgeTimeout(self.name, f"no answer within {self.timeout:g} s")
        return " ".join(found)


@dataclass(frozen=True)
class SharedSentences:
    """Scores a description by rule, for models that are too small to judge: 10 times the share of its sentences whose
    words and numbers all stand in one analysis (asked with the prompt `review/agreement`). Sentences about the words
    that were said are left out, as no analysis speaks of them; a description of nothing else scores 0.

    The packaged model gave the score 0 to each of the first descriptions it was shown, right or wrong.
    """

    name: str = "shared sentences"

    @property
    def identity(self) -> dict[str, Any]:
        """The name of the rule."""
        return {"model": self.name, "decoding": "rule"}

    def reply(self, messages: Sequence[Message]) -> str:
        """The score as JSON; ModelError when the question holds no description."""
        asked = "\n".join(message["content"] for message in messages if message["role"] == "user")
        found = _DESCRIBED.search(asked)
        if found is None:
            raise ModelError(self.name, "the question holds no description")
        held = [set(_TOKEN.findall(line["text"].lower())) for line in _LINE.finditer(found["analyses"])]
        sentences = [s for s in _END.split(found["description"]) if s.strip() and not _SPOKEN.search(s)]
        told = [set(_TOKEN.findall(s.lower())) for s in sentences]
        share = sum(any(words <= own for own in held) for words in told) / max(1, len(told))
        return f'{{"score": {round(10 * share)}}}'

"""Conversations → text and token ids, for any tokenizer, with or without a chat template of its own.

The prompt and the answer are turned into ids apart and then joined. So the prompt ids of training are the very ids that
generation sees, and the answer starts at a token boundary whatever the tokenizer would merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from affectus.errors import ConfigError
from affectus.lm.prompts import Message


@dataclass(frozen=True)
class ChatTemplate:
    """How messages become text.

    `before` and `after` surround the content of a role (`system`, `user`, `assistant`); `start` opens the conversation.
    An answer ends with `after["assistant"]`, which is part of what is learnt and stops generation. The template named
    `tokenizer` is that of the tokenizer itself.
    """

    name: str
    before: dict[str, str]
    after: dict[str, str]
    start: str = ""

    @property
    def stop(self) -> str:
        """The text that ends an answer."""
        return self.after.get("assistant", "")

    def render(self, tokenizer: Any, messages: Sequence[Message], answer_follows: bool = True) -> str:
        """Text of a conversation, ending where the answer begins when `answer_follows`."""
        _check(messages)
        if self.name == "tokenizer":
            return str(
                tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=answer_follows)
            )
        parts = [self.start]
        for message in messages:
            role = message["role"]
            parts += [self.before[role], message["content"], self.after[role]]
        if answer_follows:
            parts.append(self.before["assistant"])
        return "".join(parts)

    def answer(self, tokenizer: Any, messages: Sequence[Message], answer: str) -> str:
        """Text of an answer with what ends it, as it follows `render(...)`.

        ConfigError when the template of the tokenizer writes an answered conversation differently from an asked one.
        """
        if self.name != "tokenizer":
            return answer + self.stop
        asked = self.render(tokenizer, messages)
        whole = self.render(tokenizer, [*messages, {"role": "assistant", "content": answer}], answer_follows=False)
        if whole.startswith(asked):
            return whole[len(asked) :].rstrip("\n")
        place = whole.rfind(answer)
        if not answer or place < 0:
            raise ConfigError("chat template", "does not keep the answer as it is", "give another template by name")
        return whole[place:].rstrip("\n")


def _roles(system: str, user: str, assistant: str) -> dict[str, str]:
    return {"system": system, "user": user, "assistant": assistant}


#: Templates by name; `tokenizer` uses the one that the tokenizer carries.
TEMPLATES = {
    "tokenizer": ChatTemplate("tokenizer", {}, {}),
    "chatml": ChatTemplate(
        "chatml",
        _roles("<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n"),
        _roles("<|im_end|>\n", "<|im_end|>\n", "<|im_end|>"),
    ),
    # AffectGPT and its ancestors; a system text stands before the first turn.
    "human_assistant": ChatTemplate(
        "human_assistant", _roles("", "###Human: ", "###Assistant: "), _roles(" ", " ", "###")
    ),
    # Emotion-LLaMA.
    "inst": ChatTemplate("inst", _roles("<<SYS>>\n", "[INST] ", " "), _roles("\n<</SYS>>\n", " [/INST]", "</s>")),
    "plain": ChatTemplate("plain", _roles("", "Question: ", "Answer: "), _roles("\n", "\n", "\n\n")),
}


def template_of(tokenizer: Any, name: str = "auto") -> ChatTemplate:
    """The chat template by name; `auto` is the tokenizer's own, or `chatml` when it has none."""
    if name == "auto":
        name = "tokenizer" if getattr(tokenizer, "chat_template", None) else "chatml"
    if name not in TEMPLATES:
        raise ConfigError(f"chat template {name!r}", "no such template", f"there are {', '.join(TEMPLATES)}")
    if name == "tokenizer" and not getattr(tokenizer, "chat_template", None):
        raise ConfigError("chat template", "this tokenizer has none", f"use {', '.join(list(TEMPLATES)[1:])}")
    return TEMPLATES[name]


def prompt_ids(tokenizer: Any, messages: Sequence[Message], template: ChatTemplate) -> list[int]:
    """Token ids of a conversation up to where the answer begins."""
    return _ids(tokenizer, template.render(tokenizer, messages))


def answer_ids(tokenizer: Any, messages: Sequence[Message], answer: str, template: ChatTemplate) -> list[int]:
    """Token ids of an answer and what ends it."""
    ids = _ids(tokenizer, template.answer(tokenizer, messages, answer))
    end = tokenizer.eos_token_id
    if template.name != "tokenizer" and end is not None and (not ids or ids[-1] != end) and not template.stop:
        ids.append(end)
    return ids


def stop_ids(tokenizer: Any, template: ChatTemplate) -> list[int]:
    """Ids that end generation: the end of text, and the end mark of the template where that is one token."""
    found = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    mark = _ids(tokenizer, template.stop.strip()) if template.stop.strip() else []
    if len(mark) == 1 and mark[0] != getattr(tokenizer, "unk_token_id", None):
        found.append(mark[0])
    return list(dict.fromkeys(found))


def _ids(tokenizer: Any, text: str) -> list[int]:
    return [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]


def _check(messages: Sequence[Message]) -> None:
    if not messages:
        raise ConfigError("conversation", "has no messages")
    for message in messages:
        if message.get("role") not in ("system", "user", "assistant") or not isinstance(message.get("content"), str):
            raise ConfigError("conversation", f"has a message without role or text: {str(message)[:80]}")

"""Evidence about one turn of one person → open words and a short explanation, written by a language model.

Three kinds of writers: the packaged small model, which may only choose among the wordings of the evidence and the
candidate words (decoding is constrained, so it cannot say anything else); any causal language model of `transformers`;
and a server that speaks the OpenAI chat protocol. What comes back is kept as it is; whether it says anything that no
evidence says is checked by whoever asked.

    writer = open_writer("packaged")
    writer.write(Request("Anna", "0:01–0:04", (("The face shows joy (80%).",),), ("joy",)))
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from affectus.errors import AffectusError, ConfigError, ModelError
from affectus.labels.wheels import clean_word
from affectus.lm.completions import inspect
from affectus.lm.extraction import parse_list
from affectus.lm.judge import Client, EndpointClient, JudgeTimeout, LocalClient
from affectus.lm.prompts import Message, load_prompt
from affectus.lm.selecting import answering, choose
from affectus.lm.tags import Grammar

PROMPT = "words/verbalise"
#: Names under which the packaged model is asked for.
PACKAGED = ("packaged", "smollm2-135m")
#: Tokens an answer may have, words and sentences a constrained one has at most.
TOKENS, MOST_WORDS, MOST_SENTENCES = 220, 5, 4
State = Literal["ok", "empty", "looping", "unparsable", "timeout", "failed"]
_FORM = Grammar.parse("words explanation")


@dataclass(frozen=True)
class Request:
    """One turn: who, when (text, may be empty), wordings of each piece of evidence, candidate words, what was said."""

    who: str
    when: str
    evidence: tuple[tuple[str, ...], ...]
    words: tuple[str, ...]
    said: str = ""

    def messages(self) -> list[Message]:
        """The filled prompt."""
        lines = "\n".join(f"- {ways[0]}" for ways in self.evidence)
        given = {"who": self.who, "when": self.when or None, "evidence": lines, "said": self.said[:600] or None}
        return load_prompt(PROMPT).messages(words=", ".join(self.words) or "none", **given)


@dataclass(frozen=True)
class Generation:
    """What a writer gave: the raw text, its state, and the words and text read from it where the state is `ok`."""

    raw: str
    state: State
    words: tuple[str, ...] = ()
    text: str = ""
    error: str = ""


class Writer(Protocol):
    """Something that writes; `identity` says what decides its answers."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def write(self, request: Request) -> Generation: ...


def read_generation(raw: str) -> Generation:
    """A raw answer with its state: empty, looping, unparsable, or ok with its words and text.

    A list and sentences without their tags are not guessed at: they are unparsable.
    """
    state = inspect(raw).state
    if state != "ok":
        return Generation(raw, state, error=f"the answer is {state}")
    parsed = _FORM.parse_text(raw)
    if not parsed.ok:
        return Generation(raw, "unparsable", error=parsed.error)
    words = tuple(dict.fromkeys(clean_word(word) for word in parse_list(parsed["words"])))
    return Generation(raw, "ok", words, parsed["explanation"])


@dataclass(frozen=True)
class FreeWriter:
    """A client that answers the prompt as it likes; the answer is read and its failures are states, never errors."""

    client: Client
    name: str

    @property
    def identity(self) -> dict[str, Any]:
        """The client's identity and the digest of the prompt."""
        return {**self.client.identity, "prompt": load_prompt(PROMPT).digest[:12]}

    def write(self, request: Request) -> Generation:
        """Ask once."""
        try:
            return read_generation(self.client.reply(request.messages()))
        except JudgeTimeout as error:
            return Generation("", "timeout", error=str(error))
        except AffectusError as error:
            return Generation("", "failed", error=str(error))


@dataclass
class ConstrainedWriter:
    """A causal language model that picks and orders words and sentences of the evidence, and cannot write others."""

    model: Any
    tokenizer: Any
    name: str
    timeout: float = 60.0
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """Name, mode and the digest of the prompt."""
        return {
            "model": self.name,
            "decoding": "constrained",
            "prompt": load_prompt(PROMPT).digest[:12],
            **self.options,
        }

    def write(self, request: Request) -> Generation:
        """Words first, then sentences; both by constrained greedy decoding."""
        from affectus.lm.chat import prompt_ids, template_of

        deadline = time.monotonic() + self.timeout
        ids = prompt_ids(self.tokenizer, request.messages(), template_of(self.tokenizer))
        ids += self._ids("<words>")
        words: list[str] = []
        wordings = {way: str(place) for place, ways in enumerate(request.evidence) for way in ways}
        try:
            if request.words:
                words = self._choose(ids, request.words, ", ", MOST_WORDS, None, deadline)
                ids += self._ids(", ".join(words))
            chosen = self._choose(
                [*ids, *self._ids("</words>\n<explanation>")], tuple(wordings), " ", MOST_SENTENCES, wordings, deadline
            )
        except JudgeTimeout as error:
            return Generation(", ".join(words), "timeout", error=str(error))
        except ModelError as error:
            return Generation(", ".join(words), "failed", error=str(error))
        raw = f"<words>{', '.join(words)}</words>\n<explanation>{' '.join(chosen)}</explanation>"
        return Generation(raw, "ok", tuple(words), " ".join(chosen))

    def _ids(self, text: str) -> list[int]:
        return [int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"]]

    def _choose(
        self,
        ids: Sequence[int],
        labels: Sequence[str],
        separator: str,
        most: int,
        groups: Mapping[str, str] | None,
        deadline: float,
    ) -> list[str]:
        left = deadline - time.monotonic()
        found = choose(self.model, self.tokenizer, ids, labels, separator, most, left, groups)
        if found is None:
            raise JudgeTimeout(self.name, f"no answer within {self.timeout:g} s")
        return found


def open_clients(model: str, device: str = "auto", timeout: float = 60.0) -> tuple[Client, Client]:
    """Two clients on one model: one that writes, one that scores. Names and errors as for `open_writer`; the packaged
    model writes by selecting, and a rule scores in its place, which its identity says."""
    if model.strip() in PACKAGED:
        from affectus.lm.packaged import ASSET, load_packaged
        from affectus.lm.selecting import SelectingClient, SharedSentences

        _no_bars()
        weights, tokenizer = load_packaged()
        weights = weights.to(_device(device))
        return SelectingClient(weights, tokenizer, ASSET, timeout), SharedSentences()
    writer = open_writer(model, device, timeout)
    assert isinstance(writer, FreeWriter)
    return writer.client, writer.client


def open_writer(model: str, device: str = "auto", timeout: float = 60.0) -> Writer:
    """A writer by name: `packaged`, the hub id or folder of a causal language model, or `http(s)://…/v1[#model]`.

    AssetError, ConfigError or ModelError when it cannot be had; nothing else takes its place.
    """
    wanted = model.strip()
    if not wanted:
        raise ConfigError("llm", "names no model", "give packaged, a hub id, a folder, or the address of a server")
    if wanted.startswith(("http://", "https://")):
        address, _, name = wanted.partition("#")
        name = name or _served(address, timeout)
        return FreeWriter(EndpointClient(address, name, timeout=timeout, tries=2, max_tokens=TOKENS), name)
    _no_bars()
    if wanted in PACKAGED:
        from affectus.lm.packaged import ASSET, load_packaged

        weights, tokenizer = load_packaged()
        return ConstrainedWriter(weights.to(_device(device)), tokenizer, ASSET, timeout)
    weights, tokenizer = _load(wanted, _device(device))
    return FreeWriter(LocalClient(wanted, local_generate(weights, tokenizer, wanted, timeout)), wanted)


def local_generate(model: Any, tokenizer: Any, name: str, timeout: float, tokens: int = TOKENS) -> Any:
    """`generate(messages) -> text` of a model in this process: greedy, JudgeTimeout when the time ran out."""

    def generate(messages: Sequence[Message]) -> str:
        import torch

        from affectus.lm.chat import prompt_ids, stop_ids, template_of

        template = template_of(tokenizer)
        ids = torch.tensor([prompt_ids(tokenizer, messages, template)], device=model.device)
        ends = stop_ids(tokenizer, template)
        started = time.monotonic()
        with answering(name):
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=tokens,
                do_sample=False,
                max_time=timeout,
                eos_token_id=ends or None,
                pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (ends or [0])[0],
            )
        written = out[0, ids.shape[1] :].tolist()
        if len(written) < tokens and not (written and written[-1] in ends) and time.monotonic() - started >= timeout:
            raise JudgeTimeout(name, f"no answer within {timeout:g} s")
        return str(tokenizer.decode(written, skip_special_tokens=True))

    return generate


def _no_bars() -> None:
    """Keep the bars that `transformers` draws while it loads weights off the terminal."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _device(device: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def _load(model: str, device: str) -> tuple[Any, Any]:
    """Model and tokenizer from the hub or a folder; safetensors only, no code of the repository is run."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        weights: Any = AutoModelForCausalLM.from_pretrained(model, dtype="auto", use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(model, f"cannot be loaded as a language model: {said}", "give packaged, or a folder") from None
    return weights.to(device).eval(), tokenizer


def _served(address: str, timeout: float) -> str:
    """Name of the one model a server offers."""
    import json
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(address.rstrip("/") + "/models", timeout=timeout) as response:
            names = [str(entry["id"]) for entry in json.loads(response.read())["data"]]
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError) as error:
        reason = f"does not say which models it has: {error}"
        raise ModelError(address, reason, "name one: --llm ADDRESS#MODEL") from None
    if len(names) != 1:
        raise ModelError(address, f"has {len(names)} models", f"name one: --llm ADDRESS#MODEL ({', '.join(names[:5])})")
    return names[0]

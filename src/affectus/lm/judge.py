"""A language model as judge, so that anyone can see what it was asked and what it replied.

    judge = Judge(EndpointClient("http://localhost:8000/v1", "some-model"), load_prompt("judge/clue_overlap"),
                  read=lambda reply: parse_number(reply, 0, 10), folder="judged")
    verdict = judge.ask(reference=..., candidate=...)

Every reply is kept in the folder as one JSON record (prompt with version and hash, messages, model, options, raw
reply), named by the hash of everything that decides it: a second run asks nothing twice, a killed run goes on where it
stopped. Failures (time-outs, refused connections) are counted and never kept, so that they are asked again; a reply
that cannot be read is kept, counted, and gives no value. Scores of different judges are not comparable.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from affectus.errors import ConfigError, ModelError
from affectus.lm.prompts import Message, Prompt
from affectus.lm.tags import Parsed, parse_choice


class Client(Protocol):
    """What answers: `identity` (everything about it that decides a reply) and `reply(messages) -> text`."""

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def reply(self, messages: Sequence[Message]) -> str: ...


class JudgeTimeout(ModelError):
    """The judge did not reply in time."""


@dataclass(frozen=True)
class EndpointClient:
    """A server that speaks the OpenAI chat protocol at `url` (the part before `/chat/completions`).

    `timeout` is in seconds per try, `tries` counts the first one; the key is read from the environment variable
    `key_variable` and written nowhere. Raises JudgeTimeout when every try ran out of time, ModelError otherwise.
    """

    url: str
    model: str
    timeout: float = 60.0
    tries: int = 3
    temperature: float = 0.0
    max_tokens: int = 512
    seed: int | None = 0
    key_variable: str = "AFFECTUS_JUDGE_KEY"
    pause: float = 1.0

    def __post_init__(self) -> None:
        if urllib.parse.urlsplit(self.url).scheme not in ("http", "https"):
            raise ConfigError(self.url, "is no http or https address of a judge")

    @property
    def identity(self) -> dict[str, Any]:
        """Model and sampling options; the address is no part of it."""
        return {"model": self.model, "temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}

    def reply(self, messages: Sequence[Message]) -> str:
        """Text of the reply to a conversation."""
        failure: ModelError = ModelError(self.model, "was not asked")
        for attempt in range(max(1, self.tries)):
            if attempt:
                time.sleep(self.pause * 2 ** (attempt - 1))
            try:
                return self._once(messages)
            except JudgeTimeout as error:
                failure = error
            except urllib.error.HTTPError as error:
                failure = ModelError(self.model, f"the judge replied with status {error.code}")
                if error.code < 500 and error.code not in (408, 409, 429):
                    raise failure from None
            except (urllib.error.URLError, ConnectionError, ValueError, KeyError, IndexError, TypeError) as error:
                failure = ModelError(self.model, f"the judge gave no usable reply: {error}")
        raise failure

    def _once(self, messages: Sequence[Message]) -> str:
        body = {**self.identity, "messages": list(messages)}
        body = {name: value for name, value in body.items() if value is not None}
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            self.url.rstrip("/") + "/chat/completions", json.dumps(body).encode(), headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as response:
                record = json.loads(response.read())
        except TimeoutError:
            raise JudgeTimeout(self.model, f"the judge did not reply within {self.timeout:g} s") from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise JudgeTimeout(self.model, f"the judge did not reply within {self.timeout:g} s") from None
            raise
        return str(record["choices"][0]["message"]["content"])


@dataclass(frozen=True)
class LocalClient:
    """A model in this process: `generate(messages) -> text`, with a name that identifies weights and options."""

    name: str
    generate: Callable[[Sequence[Message]], str]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """Name and options."""
        return {"model": self.name, **self.options}

    def reply(self, messages: Sequence[Message]) -> str:
        """Text of the reply to a conversation."""
        return self.generate(messages)


@dataclass
class Counts:
    """What happened to the questions of a judge; contradictions are pairs whose verdict changes with their order."""

    asked: int = 0
    cached: int = 0
    timeouts: int = 0
    failures: int = 0
    unreadable: int = 0
    contradictions: int = 0
    compared: int = 0

    def record(self) -> dict[str, int]:
        """As a dictionary for a result record."""
        return dict(vars(self))


@dataclass(frozen=True)
class Verdict:
    """One judged item: the value (None when there is none and why), the raw reply and its record."""

    value: Any
    reply: str = ""
    error: str = ""
    record: Path | None = None
    cached: bool = False


@dataclass(frozen=True)
class Comparison:
    """Two candidates in both orders: share of the first in [0, 1] (win 1, tie .5, loss 0; NaN when neither order could
    be read) and whether the two orders agree."""

    score: float
    consistent: bool
    verdicts: tuple[Verdict, Verdict]


class Judge:
    """A client, a prompt, a reader of replies and a folder of records.

    `read` turns a reply into a `Parsed` whose field `value` (or the first field) is the verdict.
    """

    def __init__(
        self,
        client: Client,
        prompt: Prompt,
        read: Callable[[str], Parsed],
        folder: str | Path | None = None,
        workers: int = 4,
    ) -> None:
        self.client, self.prompt, self.read, self.workers = client, prompt, read, workers
        self.folder = None if folder is None else Path(folder)
        self.counts = Counts()
        self._lock = Lock()

    def key(self, messages: Sequence[Message]) -> str:
        """Hash of everything that decides a reply: client, messages."""
        content = json.dumps([dict(self.client.identity), list(messages)], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()

    def ask(self, **values: Any) -> Verdict:
        """The verdict on one filled prompt; errors of the judge become part of the verdict, never an exception."""
        messages = self.prompt.messages(**values)
        key = self.key(messages)
        place = None if self.folder is None else self.folder / key[:2] / f"{key}.json"
        reply = _kept(place)
        cached = reply is not None
        if reply is None:
            try:
                reply = self.client.reply(messages)
            except JudgeTimeout as error:
                return self._failed("timeouts", error)
            except ModelError as error:
                return self._failed("failures", error)
            if not reply.strip():
                return self._failed("failures", ModelError(str(self.client.identity.get("model")), "replied nothing"))
            self._keep(place, messages, reply)
        found = self.read(reply)
        with self._lock:
            self.counts.cached += cached
            self.counts.asked += not cached
            self.counts.unreadable += not found.ok
        value = found.fields.get("value", next(iter(found.fields.values()), None)) if found.ok else None
        return Verdict(value, reply, found.error, place, cached)

    def ask_many(self, items: Iterable[Mapping[str, Any]]) -> list[Verdict]:
        """Verdicts on many items in order, several asked at a time."""
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            return list(pool.map(lambda values: self.ask(**values), items))

    def compare(self, first: str, second: str, **values: Any) -> Comparison:
        """Two candidates, asked in both orders so that a liking for a place cancels out.

        The prompt takes `first` and `second`; its verdicts are a1, a2 or same.
        """
        there = self.ask(first=first, second=second, **values)
        back = self.ask(first=second, second=first, **values)
        forward = {"a1": 1.0, "a2": 0.0, "same": 0.5}
        shares = [forward[v] for v in (there.value,) if v in forward]
        shares += [1 - forward[v] for v in (back.value,) if v in forward]
        consistent = len(shares) == 2 and shares[0] == shares[1]
        with self._lock:
            self.counts.compared += 1
            self.counts.contradictions += len(shares) == 2 and not consistent
        return Comparison(sum(shares) / len(shares) if shares else float("nan"), consistent, (there, back))

    def record(self) -> dict[str, Any]:
        """What a result must say about its judge."""
        return {"judge": dict(self.client.identity), "prompt": self.prompt.record(), "counts": self.counts.record()}

    def _failed(self, kind: str, error: ModelError) -> Verdict:
        with self._lock:
            setattr(self.counts, kind, getattr(self.counts, kind) + 1)
        return Verdict(None, "", str(error))

    def _keep(self, place: Path | None, messages: Sequence[Message], reply: str) -> None:
        if place is None:
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "judge": dict(self.client.identity),
            "prompt": self.prompt.record(),
            "messages": list(messages),
            "reply": reply,
        }
        partial = place.with_suffix(f".{os.getpid()}.{id(content)}.tmp")
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(place)


def _kept(place: Path | None) -> str | None:
    """The reply of an intact record."""
    if place is None or not place.is_file():
        return None
    try:
        reply = json.loads(place.read_text(encoding="utf-8"))["reply"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return reply if isinstance(reply, str) else None


def read_preference(reply: str) -> Parsed:
    """Reader of a1, a2, same."""
    return parse_choice(reply, ("a1", "a2", "same"))

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from affectus.errors import ConfigError
from affectus.lm.judge import EndpointClient, Judge, LocalClient, read_preference
from affectus.lm.prompts import Message, load_prompt
from affectus.lm.tags import Parsed, parse_number


def _score(reply: str) -> Parsed:
    return parse_number(reply, 0, 10)


def _jaccard(messages: Sequence[Message]) -> str:
    """A stub judge: ten times the overlap of the words of reference and candidate."""
    body = messages[-1]["content"]
    reference = set(body.split("Reference:")[1].split("Candidate:")[0].split())
    candidate = set(body.split("Candidate:")[1].split("How far")[0].split())
    return f"score: {10 * len(reference & candidate) / len(reference | candidate):.1f}; reason: words"


class _Server(BaseHTTPRequestHandler):
    """Replies as told by the model's name."""

    seen: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append({**body, "path": self.path, "key": self.headers.get("Authorization")})
        model = body["model"]
        if model == "slow":
            time.sleep(0.6)
        if model == "refusing" or (model == "shaky" and len(self.seen) == 1):
            self.send_response(401 if model == "refusing" else 503)
            self.end_headers()
            return
        text = "not json" if model == "broken" else json.dumps({"choices": [{"message": {"content": "score: 8"}}]})
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(text.encode())

    def log_message(self, *_parts: Any) -> None:
        return None


@pytest.fixture
def server() -> Iterator[str]:
    _Server.seen = []
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}/v1"
    running.shutdown()
    running.server_close()


@pytest.mark.sheet(
    "Judge adapter with a stub ranks: gold text 10, one modality removed < 10, another clip's text lowest"
)
def test_stub_judge_ranks() -> None:
    judge = Judge(LocalClient("stub", _jaccard), load_prompt("judge/clue_overlap"), _score)
    gold = "he frowns and his voice trembles so he is angry"
    values = [judge.ask(reference=gold, candidate=c).value for c in (gold, "he frowns so he is angry", "birds sing")]
    assert values[0] == 10
    assert values[0] > values[1] > values[2]


def test_replies_are_kept_visible_and_asked_once(tmp_path: Path) -> None:
    asked: list[int] = []

    def reply(messages: Sequence[Message]) -> str:
        asked.append(1)
        return "score: 7; reason: fine"

    prompt = load_prompt("judge/clue_overlap")
    items = [{"reference": "a", "candidate": str(i % 3)} for i in range(9)]
    first = Judge(LocalClient("m", reply), prompt, _score, tmp_path, workers=1)
    assert [v.value for v in first.ask_many(items)] == [7] * 9
    assert len(asked) == 3
    again = Judge(LocalClient("m", reply), prompt, _score, tmp_path)
    verdict = again.ask(**items[0])
    assert verdict.cached
    assert len(asked) == 3
    assert verdict.record is not None
    kept = json.loads(verdict.record.read_text(encoding="utf-8"))
    assert kept["prompt"] == prompt.record()
    assert kept["messages"] == prompt.messages(**items[0])
    assert kept["reply"] == "score: 7; reason: fine"
    Judge(LocalClient("m", reply, {"temperature": 1}), prompt, _score, tmp_path).ask(**items[0])
    assert len(asked) == 4, "another judge has its own replies"
    verdict.record.write_text("{broken", encoding="utf-8")
    assert not again.ask(**items[0]).cached


def test_unreadable_replies_are_counted_and_give_no_value() -> None:
    judge = Judge(LocalClient("m", lambda _: "no idea"), load_prompt("judge/clue_overlap"), _score)
    verdict = judge.ask(reference="a", candidate="b")
    assert verdict.value is None
    assert verdict.error == "there is no number"
    assert judge.record()["counts"]["unreadable"] == 1


def test_contradicting_preferences_cancel_out_and_are_counted() -> None:
    prompt = load_prompt("judge/preference")
    biased = Judge(LocalClient("first", lambda _: "a1"), prompt, read_preference)
    found = biased.compare("x", "y")
    assert (found.score, found.consistent) == (0.5, False)
    assert biased.counts.contradictions == 1

    def longer(messages: Sequence[Message]) -> str:
        one, two = (messages[-1]["content"].split(mark)[1].split("\n")[0] for mark in ("a1: ", "a2: "))
        return "a1" if len(one) > len(two) else "a2" if len(two) > len(one) else "same"

    fair = Judge(LocalClient("longer", longer), prompt, read_preference)
    assert fair.compare("long text", "short").score == 1.0
    assert fair.compare("short", "long text").score == 0.0
    assert fair.compare("same", "size").consistent
    assert fair.counts.contradictions == 0


def test_endpoint_speaks_the_chat_protocol(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AFFECTUS_JUDGE_KEY", "secret-key")
    judge = Judge(EndpointClient(server, "good"), load_prompt("judge/clue_overlap"), _score, tmp_path)
    assert judge.ask(reference="a", candidate="b").value == 8
    sent = _Server.seen[0]
    assert (sent["path"], sent["key"], sent["temperature"]) == ("/v1/chat/completions", "Bearer secret-key", 0.0)
    assert "secret-key" not in "".join(p.read_text(encoding="utf-8") for p in tmp_path.rglob("*.json"))


def test_failures_of_an_endpoint(server: str, tmp_path: Path) -> None:
    def verdict(model: str, **options: Any) -> tuple[Any, Judge]:
        client = EndpointClient(server, model, pause=0.0, **options)
        judge = Judge(client, load_prompt("judge/clue_overlap"), _score, tmp_path)
        return judge.ask(reference="a", candidate="b"), judge

    shaky, _ = verdict("shaky")
    assert shaky.value == 8, "a server error is tried again"
    slow, judge = verdict("slow", timeout=0.1, tries=2)
    assert slow.value is None
    assert "within 0.1 s" in slow.error
    assert judge.counts.timeouts == 1
    refused, judge = verdict("refusing")
    assert "status 401" in refused.error
    assert sum(s["model"] == "refusing" for s in _Server.seen) == 1
    broken, judge = verdict("broken", tries=1)
    assert judge.counts.failures == 1
    assert broken.value is None
    assert len(list(tmp_path.rglob("*.json"))) == 1, "failures are not kept"
    with pytest.raises(ConfigError, match="http"):
        EndpointClient("file:///etc/passwd", "m")

"""`affectus analyze --describe` from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "talk.txt"
    path.write_text("I am so glad that you came.\nThat is sad and I am angry.\n", encoding="utf-8")
    return path


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A server of the OpenAI chat protocol that answers from a list."""
    answers: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"data": [{"id": "tiny"}]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send({"choices": [{"message": {"content": answers.pop(0)}}]})

        def _send(self, record: Any) -> None:
            body = json.dumps(record).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    own = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=own.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{own.server_port}/v1", answers
    own.shutdown()
    own.server_close()


def rows_of(out: str, space: str) -> list[dict[str, Any]]:
    return [row for row in json.loads(out)["rows"] if row["space"] == space]


def test_the_template_needs_no_language_model(affectus: Callable[..., Any], text: Path) -> None:
    done = affectus("analyze", text, "--describe", "--json")
    assert done.code == 0
    words = {row["label"] for row in rows_of(done.out, "open_words")}
    assert {"glad", "sadness", "anger"} <= words
    assert all(row["refs"] for row in rows_of(done.out, "description"))
    assert rows_of(done.out, "generation") == []
    shown = affectus("analyze", text, "--describe")
    assert "2 turns worded by template" in shown.out


def test_the_template_loads_no_torch(fake_models: Path, text: Path) -> None:
    code = (
        "import sys; from affectus.analysis import analyze; t = analyze(sys.argv[1], describe=True);"
        "assert any(r['space'] == 'description' for r in t.to_rows());"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'a heavy import'"
    )
    import os

    environment = os.environ | {"AFFECTUS_MODELS": str(fake_models)}
    done = subprocess.run([sys.executable, "-c", code, str(text)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_a_server_words_the_turns_and_failures_are_counted(
    affectus: Callable[..., Any], text: Path, server: tuple[str, list[str]]
) -> None:
    address, answers = server
    good = "<words>joyful</words><explanation>The words express joy. A cat came too.</explanation>"
    answers += [good, "again " * 60]
    done = affectus("analyze", text, "--describe", "--llm", address, "--json")
    assert done.code == 0, done.err
    raw = [(row["label"], row["method"]) for row in rows_of(done.out, "generation")]
    assert raw == [("ok", "tiny"), ("dropped: claim", "tiny"), ("looping", "tiny")]
    assert {row["method"] for row in rows_of(done.out, "description")} == {"tiny", "template"}
    answers += [good, "again " * 60]
    shown = affectus("analyze", text, "--describe", "--llm", f"{address}#tiny")
    assert "2 turns worded by tiny; 1 of them by the template instead (1 looping)" in shown.out
    assert "sentences taken out because no row holds them (1 claim)" in shown.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--llm", "packaged"), "add --describe"),
        (("--describe", "--llm", "no/such/folder"), "cannot be loaded"),
        (("--describe", "--llm", "http://127.0.0.1:9/v1"), "does not say which models it has"),
        (("--describe", "--llm-timeout", "0"), "llm-timeout"),
    ],
)
def test_a_model_that_cannot_be_had_is_one_clear_line(
    affectus: Callable[..., Any], text: Path, options: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = affectus("analyze", text, *options)
    assert done.code != 0
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not done.out


def test_finished_results_know_which_model_described_them(
    affectus: Callable[..., Any], text: Path, tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    out = tmp_path / "out"
    assert affectus("analyze", text, "--out", out, "--describe").code == 0
    again = affectus("analyze", text, "--out", out, "--describe")
    assert "1 of 1 results were finished before" in again.err
    address, answers = server
    answers += ["", ""]
    other = affectus("analyze", text, "--out", out, "--describe", "--llm", address)
    assert "finished before" not in other.err
    assert "2 of them by the template instead (2 empty)" in other.out

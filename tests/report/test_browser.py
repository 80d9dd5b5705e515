"""The report in a real browser, driven over its debugging pipe; skipped where no Chromium is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from affectus import report
from affectus.types import Timeline

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


class Page:
    """One tab: commands out, replies and events in, as JSON texts that end in a zero byte."""

    def __init__(self, out: int, back: int) -> None:
        self.out, self.back = os.fdopen(out, "wb", 0), os.fdopen(back, "rb", 0)
        self.number, self.rest, self.session = 0, b"", ""
        self.complaints: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        while True:
            reply = self._next()
            if reply.get("id") == self.number:
                assert "error" not in reply, reply
                return dict(reply["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            chunk = os.read(self.back.fileno(), 1 << 20)
            assert chunk, "the browser went away"
            self.rest += chunk
        text, self.rest = self.rest.split(b"\0", 1)
        event: dict[str, Any] = json.loads(text)
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        if event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(params["args"]))
        return event

    def run(self, script: str) -> Any:
        """Value of an expression in the page (promises are awaited)."""
        reply = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait (at most 20 s) until an expression is true in the page."""
        for _ in range(200):
            if self.run(f"Boolean({condition})"):
                return
            time.sleep(0.1)
        raise AssertionError(f"never true: {condition}; complaints: {self.complaints}")


@contextmanager
def opened(path: Path, profile: Path, width: int = 1280, theme: str = "light") -> Iterator[Page]:
    """A page of a report file in a fresh browser."""
    to_browser, from_browser = os.pipe(), os.pipe()
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    script = f'exec 3<&{to_browser[0]} 4>&{from_browser[1]}; exec "$@"'
    process = subprocess.Popen(
        ["/bin/bash", "-c", script, "bash", *command, "--remote-debugging-pipe", "about:blank"],
        pass_fds=(to_browser[0], from_browser[1]),
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    page = Page(to_browser[1], from_browser[0])
    try:
        target = page.call("Target.createTarget", url="about:blank")["targetId"]
        page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            page.call(f"{domain}.enable")
        size = {"width": width, "height": 1800, "deviceScaleFactor": 1, "mobile": width < 500}
        page.call("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": theme}
        page.call("Emulation.setEmulatedMedia", features=[feature])
        page.call("Page.navigate", url=path.as_uri())
        page.until("document.readyState === 'complete'")
        yield page
    finally:
        page.out.close()
        page.back.close()
        process.terminate()
        process.wait(timeout=20)


DRAWN = "document.querySelectorAll('.panel:not([hidden]) .plot .main-svg').length"
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_no_complaints_and_everything_answers(conversation: Timeline, tmp_path: Path, width: int, theme: str) -> None:
    path = report.save(conversation, tmp_path / "talk.html")
    with opened(path, tmp_path / "profile", width, theme) as page:
        page.until(f"{DRAWN} >= 2")
        assert page.run(WIDE) <= 0, "the page scrolls sideways"
        background = page.run("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(18, 20, 23)") == (theme == "dark")
        # A click on a time in the transcript moves the cursor, the details and the highlighted turn.
        page.run("document.querySelectorAll('.turn [data-seek]')[5].click()")
        inspected = page.run("document.querySelector('.inspector').innerText")
        assert "0:27.5" in inspected
        assert "Really, it is fine." in inspected
        assert "mouth corners raised" not in inspected
        page.run("document.querySelector('.plain [data-seek]').click()")
        assert "mouth corners raised" in page.run("document.querySelector('.inspector').innerText")
        # The second tab draws the second person, zooming shows half of the time everywhere.
        page.run("document.querySelectorAll('[role=tab]')[1].click()")
        page.until(f"document.querySelectorAll('[data-person=\"1\"] .main-svg').length >= 2 && {DRAWN} >= 2")
        page.run("document.querySelector('[data-zoom=in]').click()")
        assert page.run("document.querySelector('.strip .inner').style.width") == "200%"
        page.run("document.querySelector('#theme').click()")
        assert page.run("document.documentElement.dataset.theme") == ("dark" if theme == "light" else "light")
        assert page.complaints == []


def test_hostile_names_run_nothing(make: Callable[..., Timeline], tmp_path: Path) -> None:
    attack = '<img src=x onerror="window.hit=1"></script><script>window.hit=1</script>\'"'
    rows = [
        row | {"speaker": attack if row["speaker"] else "", "text": attack} for row in make(duration=60.0).to_rows()
    ]
    for row in rows:
        if row["space"] in ("evidence", "conflict") or row["source"] == "words":
            row["label"] = attack
        row["file"] = attack
    info = {"kind": "video", "duration": 60.0, "warnings": [attack], "missing": {attack: attack}}
    meta = {
        "files": {attack: info},
        "models": [{"name": attack, "title": attack, "limits": [attack]}],
        "version": attack,
    }
    path = report.save(Timeline.from_rows(rows, meta), tmp_path / "attack.html")
    with opened(path, tmp_path / "profile") as page:
        page.until(f"{DRAWN} >= 1")
        page.run("document.querySelectorAll('[data-seek]').forEach(b => b.click())")
        assert page.run("window.hit === undefined")
        assert page.run("document.querySelectorAll('img[src=x]').length") == 0
        assert page.complaints == []


def test_texts_without_times(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = []
    for number, text in enumerate(("first", "second", "third")):
        base = {"file": "a.txt", "frame": number, "source": "words", "method": "m"}
        rows.append(base | {"space": "transcript", "text": text})
        rows += [base | {"space": "s", "label": label, "score": s} for label, s in (("joy", 0.7), ("fear", 0.2))]
    timeline = Timeline.from_rows(rows, {"files": {"a.txt": {"kind": "text"}}})
    with opened(report.save(timeline, tmp_path / "a.html"), tmp_path / "profile") as page:
        page.until(f"{DRAWN} >= 1")
        page.run("document.querySelectorAll('.turn [data-seek]')[1].click()")
        assert page.run("document.querySelector('.inspector .at').innerText") == "no. 2 “second”"
        assert page.complaints == []


def test_times_seek_the_recording_beside_the_report(make: Callable[..., Timeline], tmp_path: Path) -> None:
    recording = tmp_path / "a talk #1.wav"
    with wave.open(str(recording), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(bytes(8000 * 60))
    whole = make(str(recording))
    info = whole.meta["files"][str(recording)] | {"kind": "audio"}
    timeline = Timeline(whole.table, dict(whole.meta) | {"files": {str(recording): info}})
    with opened(report.save(timeline, tmp_path / "a.html"), tmp_path / "profile") as page:
        page.until("document.querySelector('audio').readyState >= 1")
        page.run("document.querySelectorAll('.turn [data-seek]')[3].click()")
        page.until("Math.abs(document.querySelector('audio').currentTime - 16) < 0.1")
        assert page.complaints == []


@pytest.mark.parametrize(("width", "theme"), [(1280, "dark"), (390, "light")])
def test_a_conversation_answers_turn_by_turn(tmp_path: Path, width: int, theme: str) -> None:
    rows: list[dict[str, Any]] = []
    for number in range(12):
        who, label = ("Anna", "Ben")[number % 2], ("neutral", "neutral", "anger")[number % 3]
        base = {"file": "chat.csv", "speaker": who, "frame": number, "perspective": "expressed", "source": "fusion"}
        rows.append(base | {"source": "words", "space": "transcript", "text": f"This is turn {number}."})
        for name in ("neutral", "anger", "happiness"):
            score = 0.8 if name == label else 0.1
            rows.append(base | {"method": "context", "space": "ekman7", "label": name, "score": score,
                                "low": score - 0.1, "high": score + 0.1})  # fmt: skip
        rows.append(base | {"space": "decision", "label": label, "score": 0.8})
        if label == "anger":
            rows.append(base | {"space": "shift", "label": "neutral→anger", "score": 0.5, "text": f"{who}: to anger."})
    info = {"kind": "table", "axis": "turns", "conversations": 1, "speakers": 2, "turns_of": {"Anna": 6, "Ben": 6}}
    path = report.save(Timeline.from_rows(rows, {"files": {"chat.csv": info}}), tmp_path / "chat.html")
    with opened(path, tmp_path / "profile", width, theme) as page:
        page.until(f"{DRAWN} >= 1")
        assert page.run(WIDE) <= 0, "the page scrolls sideways"
        page.run("document.querySelectorAll('.plain [data-seek]')[1].click()")
        inspected = page.run("document.querySelector('.inspector').innerText")
        assert "no. 6" in inspected
        assert "This is turn 5." in inspected
        assert "shifts: → anger (0.50 bit)" in inspected
        assert page.complaints == []


OVERLAPS = """[...document.querySelectorAll('.wheel')].flatMap(wheel => {
  const boxes = [...wheel.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  const frame = wheel.getBoundingClientRect();
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top + 2 || b.bottom <= a.top + 2;
  const out = boxes.filter(([, b]) => b.left < frame.left - 1 || b.right > frame.right + 1).map(([t]) => t);
  const pairs = boxes.flatMap(([t, a], i) => boxes.slice(i + 1).filter(([, b]) => !apart(a, b)).map(([u]) => [t, u]));
  return [...out, ...pairs.map(pair => pair.join(' over '))];
})"""


@pytest.mark.parametrize(("width", "theme"), [(1280, "dark"), (390, "light")])
def test_wheels_of_open_words_can_be_read(conversation: Timeline, tmp_path: Path, width: int, theme: str) -> None:
    from affectus.analysis.describing import describe

    path = report.save(describe(conversation), tmp_path / "talk.html")
    with opened(path, tmp_path / "profile", width, theme) as page:
        assert page.run("document.querySelectorAll('.wheel').length") == 2
        assert page.run("document.querySelectorAll('.wheel .on').length") >= 6
        assert page.run(OVERLAPS) == []
        assert page.run(WIDE) <= 0, "the page scrolls sideways"
        when = page.run("(b => (b.click(), b.innerText))(document.querySelectorAll('.told [data-seek]')[3])")
        assert page.run("document.querySelector('.inspector').innerText").startswith(when)
        page.run("document.querySelector('.told .refs a').click()")
        assert page.run("document.querySelector('tr:target').innerText").strip()
        assert page.complaints == []

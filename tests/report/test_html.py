"""The report as HTML text: self-contained, well-formed, escaped, and the right parts for each kind of input."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectus import report
from affectus.errors import AffectusError
from affectus.report.plots import POINTS
from affectus.types import Card, Timeline

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Reader(HTMLParser):
    """Collects elements and text, and checks that every element is closed where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def read(timeline: Timeline, folder: Path) -> tuple[Reader, str]:
    source = report.save(timeline, folder / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(source)
    reader.close()
    assert reader.open == []
    return reader, source


def picture(name: str = "photo.jpg") -> Timeline:
    base = {"file": name, "start": 0.0, "end": 0.0, "frame": 0, "track": 0, "source": "face", "space": "fer2"}
    rows: list[dict[str, Any]] = [base | {"label": "happiness", "score": 0.8, "low": 0.7, "high": 0.9}]
    rows.append(base | {"label": "fear", "score": 0.2})
    scene = {"file": name, "source": "scene", "space": "va", "perspective": "evoked", "label": "valence"}
    rows.append(scene | {"score": -0.4, "low": -0.6, "high": 0.1})
    return Timeline.from_rows(rows, {"files": {name: {"kind": "image", "width": 64, "height": 48}}})


def test_page_is_self_contained_and_well_formed(conversation: Timeline, tmp_path: Path) -> None:
    reader, source = read(conversation, tmp_path)
    loaded = [a[k] for _, a in reader.elements for k in ("src", "href") if k in a]
    assert loaded
    assert all(address.startswith(("data:", "#")) for address in loaded), loaded
    style = re.search(r"<style>(.*?)</style>", source, re.S)[1]  # type: ignore[index]
    assert "url(" not in style
    assert "@import" not in style
    ids = [a["id"] for _, a in reader.elements if "id" in a]
    assert len(ids) == len(set(ids))
    policy = next(a["content"] for a in reader.named("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert len(source) < 3_000_000


def test_page_tells_the_story(conversation: Timeline, tmp_path: Path) -> None:
    reader, _ = read(conversation, tmp_path)
    for expected in (
        "scene was not analysed: the scene model was switched off",
        "3 s of the picture are too dark",
        "Anna (face 1): perceived expression is anger 40%",
        "Face and voice disagree for Ben (face 2) at 0:28–0:34",
        "That is not fine, that is <b>rude</b> & unfair.",
        "From 0:28 to 0:33 the face of Ben shows raised mouth corners",
        "0.849 to 0.873",
        "Posed and web pictures of mostly adult faces",
        "temperature: 1.31",
        "prohibited in the European Union",
    ):
        assert expected in reader.text
    assert "feels" not in reader.text


def test_many_sentences_scroll_and_those_left_out_are_counted(tmp_path: Path) -> None:
    for count, style, more in ((3, "plain", 0), (40, "plain long", 0), (230, "plain long", 30)):
        rows = [
            {"file": "a.txt", "frame": i, "source": "words", "space": "transcript", "text": "x"} for i in range(count)
        ]
        rows += [{**row, "source": "fusion", "space": "explanation", "text": "Because."} for row in rows]
        text = report.save(
            Timeline.from_rows(rows, {"files": {"a.txt": {"kind": "text"}}}), tmp_path / "a.html"
        ).read_text()
        why = text[text.index("<h3>Why</h3>") :]
        assert why.startswith(f'<h3>Why</h3><ul class="{style}"')
        assert (f"{more} more are in the table" in why) == bool(more)


def test_sentences_link_to_the_rows_they_rest_on(conversation: Timeline, tmp_path: Path) -> None:
    reader, _ = read(conversation, tmp_path)
    links = [a["href"][1:] for a in reader.named("a") if re.fullmatch(r"#f0-r\d+", a.get("href", ""))]
    rows = {a["id"] for a in reader.named("tr") if "id" in a}
    refs = [r for row in conversation.filter(space="explanation").to_rows() for r in row["refs"]]
    assert links == [f"f0-r{ref}" for ref in refs]
    assert set(links) == rows


def test_accessible_names(conversation: Timeline, tmp_path: Path) -> None:
    reader, source = read(conversation, tmp_path)
    assert '<html lang="en">' in source
    assert len(reader.named("h1")) == 1
    assert all(a.get("alt") for a in reader.named("img"))
    strips = [a for _, a in reader.elements if a.get("role") in ("img", "slider")]
    assert len(strips) >= 10
    assert all(a.get("aria-label") for a in strips)
    assert any("uncertain 19%" in a["aria-label"] for a in strips)
    tabs = [a for a in reader.named("button") if a.get("role") == "tab"]
    panels = {a["id"]: a["aria-labelledby"] for _, a in reader.elements if a.get("role") == "tabpanel"}
    assert panels == {a["aria-controls"]: a["id"] for a in tabs}


def test_hostile_text_is_inert(tmp_path: Path) -> None:
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'\x00"
    base = {"file": attack, "start": 0.0, "end": 1.0, "speaker": attack, "source": "words", "text": attack}
    rows: list[dict[str, Any]] = [base | {"space": "transcript"}, base | {"space": "explanation", "refs": [0]}]
    rows.append(base | {"space": attack, "label": attack, "score": 0.9, "method": attack})
    rows.append(base | {"space": "evidence", "label": attack, "score": 1.0})
    rows.append(base | {"space": "conflict", "label": attack, "score": 0.5})
    info = {"kind": attack, "duration": 1.0, "thumbnails": {"-1": 'data:image/png;base64,x" onload="alert(1)'}}
    meta = {
        "files": {attack: info},
        "models": {"m": {"title": attack}},
        "version": attack,
        "settings": {attack: attack},
    }
    reader, source = read(Timeline.from_rows(rows, meta), tmp_path)
    assert "<script>alert" not in source
    assert "alert(1)>" not in re.sub(r"<script.*?</script>", "", source, flags=re.S)
    assert [a for a in reader.named("img") if a.get("src") == "x"] == []
    assert not any(name.startswith("on") for _, a in reader.elements for name in a)
    assert len(reader.named("script")) == 3  # data, plotly, page


def test_picture_has_bars_and_no_plots(tmp_path: Path) -> None:
    reader, source = read(picture(), tmp_path)
    assert "What the picture shows" in reader.text
    assert "80% (70% to 90%)" in reader.text
    assert "evoked in viewers" in reader.text
    assert "−0.40 (−0.60 to +0.10)" in reader.text
    assert len(source) < 100_000, "a page without plots carries no plot library"
    # What the scene evokes belongs to the picture, not to a face in it.
    assert reader.text.count("evoked in viewers") == 1


def test_recording_beside_the_report_is_played(tmp_path: Path, make: Callable[..., Timeline]) -> None:
    recording = tmp_path / "a & b #1?.mp4"
    recording.write_bytes(b"")
    reader, _ = read(make(str(recording), duration=4.0, turns=False), tmp_path)
    (player,) = reader.named("video")
    assert player["src"] == "./a%20%26%20b%20%231%3F.mp4"
    recording.unlink()
    reader, _ = read(make(str(recording), duration=4.0, turns=False), tmp_path)
    assert reader.named("video") == []


def test_many_files_get_an_overview_and_stay_small(
    make: Callable[..., Timeline], several: Callable[..., Timeline], tmp_path: Path
) -> None:
    one = make(duration=10.0, turns=False, fps=2.0)
    rows = one.to_rows()
    names = [f"folder/{i}.mp4" for i in range(64)]
    every = [row | {"file": name, "row": k} for k, name in enumerate(names) for row in rows]
    info = one.meta["files"]["kitchen talk.mp4"] | {"thumbnails": {}}
    files = dict.fromkeys(names, info) | {"broken.mov": {"kind": "video", "warnings": ["moov atom not found"]}}
    reader, source = read(Timeline.from_rows(every, {"files": files}), tmp_path)
    assert "65 files" in reader.text
    assert "moov atom not found" in reader.text
    assert len([a for a in reader.named("details") if a.get("class") == "file"]) == 60
    assert "The first 60 files have a section" in reader.text
    assert len(source) < 6_000_000


def test_hour_is_thinned_and_says_so(make: Callable[..., Timeline], tmp_path: Path) -> None:
    reader, source = read(make(duration=3600.0, fps=0.5, turns=False), tmp_path)
    assert f"Curves are drawn with {POINTS} of 3600 points" in reader.text
    assert len(source) < 4_000_000
    data = json.loads(re.search(r'id="f0-data">(.*?)</script>', source, re.S)[1])  # type: ignore[index]
    assert max(len(entry["b"]) for entry in data["pool"]) < 40_000


@pytest.mark.parametrize("rows", [[], [{"file": "a.txt", "space": "transcript", "text": ""}], [{"file": "x"}]])
def test_hardly_anything_still_makes_a_page(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    reader, _ = read(Timeline.from_rows(rows), tmp_path)
    assert "Reading this responsibly" in reader.text


def test_numbers_that_are_none_do_no_harm(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "file": "a.wav",
            "start": float(t),
            "end": t + 1.0,
            "source": "voice",
            "space": "s",
            "label": label,
            "score": v,
        }
        for t in range(4)
        for label, v in (("anger", math.nan), ("fear", math.inf if t % 2 else math.nan))
    ]
    rows.append(
        {"file": "a.wav", "start": 1.0, "end": math.inf, "space": "conflict", "label": "a-b", "score": math.nan}
    )
    rows.append({"file": "a.wav", "start": 1.0, "source": "face", "space": "evidence", "label": "x", "score": math.nan})
    timeline = Timeline.from_rows(rows, {"files": {"a.wav": {"kind": "audio", "duration": math.nan}}})
    reader, _ = read(timeline, tmp_path)
    assert "a.wav" in reader.text
    assert report.summary(timeline)
    assert report.figure(timeline) is not None


def test_thousands_of_texts_and_endless_ones_are_cut(tmp_path: Path) -> None:
    base = {"file": "a.csv", "source": "words", "start": math.nan, "end": math.nan}
    rows: list[dict[str, Any]] = []
    for i in range(4000):
        text = "x" * 1_000_000 if i == 0 else f"text {i} rude"
        rows.append(base | {"frame": i, "space": "transcript", "text": text})
        rows.append(base | {"frame": i, "space": "s", "label": "joy", "score": 0.5})
        rows.append(base | {"frame": i, "space": "evidence", "label": "word", "score": 1.0, "text": "rude"})
    reader, source = read(Timeline.from_rows(rows, {"files": {"a.csv": {"kind": "table"}}}), tmp_path)
    assert "1,000 more stand in the data files only" in reader.text
    assert len(reader.named("mark")) == 2999
    assert len(source) < 5_000_000


def test_cards_may_be_objects(tmp_path: Path) -> None:
    card = Card("m", "A <model>", "1", "voice", "t", "expressed", "s", ("a",), metrics={"uar": {"value": 0.8}})
    reader, _ = read(Timeline.from_rows([], {"models": [card]}), tmp_path)
    assert "A <model>" in reader.text
    assert "0.800" in reader.text


def test_figure_shows_every_emotion_with_its_band(conversation: Timeline) -> None:
    figure = conversation.plot()
    names = [trace.name for trace in figure.data if trace.visible]
    for label in ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "valence", "arousal"):
        assert label in names
    assert [button.label for button in figure.layout.updatemenus[0].buttons] == ["Anna (face 1)", "Ben (face 2)"]
    rows = conversation.filter(source="fusion", label="anger", track=1, space="ekman7").to_rows()
    (line,) = [t for t in figure.data if t.name == "anger" and t.customdata is not None and t.visible]
    assert np.allclose(line.y, [r["score"] for r in rows], atol=1e-4)
    assert np.allclose(np.array(line.customdata)[:, 0], [r["low"] for r in rows], atol=1e-4)
    assert "@" not in figure.to_json()


def test_figure_of_a_file_that_is_not_there_names_those_that_are() -> None:
    timeline = Timeline.from_rows([{"file": "a.wav", "space": "ekman7", "label": "fear", "score": 0.5}])
    with pytest.raises(AffectusError, match=r"b\.wav: is not in this timeline \(it holds a\.wav\)"):
        timeline.plot("b.wav")


def test_figure_of_a_picture_is_bars() -> None:
    figure = report.figure(picture())
    assert figure.data[0].type == "bar"
    assert list(figure.data[0].y) == ["fear", "happiness"]
    assert math.isclose(figure.data[0].x[1], 0.8)

"""Open words and descriptions in the report: the wheel, the turns, what was taken out."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from affectus import report
from affectus.labels import space, wheels
from affectus.report import descriptions as d
from affectus.report.view import one_view
from affectus.types import Timeline


@pytest.fixture
def told() -> Timeline:
    """Two people, one described by a model, one by the template because the model said nothing."""
    anna = {"file": "talk.wav", "track": -1, "speaker": "Anna <b>", "start": 1.0, "end": 3.0, "method": "small-model"}
    ben = anna | {"speaker": "Ben", "start": 4.0, "end": 6.0, "method": "template"}
    listed: list[dict[str, Any]] = []
    for who, label in ((anna, "happiness"), (ben, "neutral")):
        listed.append(who | {"source": "fusion", "space": "decision", "label": label, "score": 0.8})
        listed.append(who | {"source": "fusion", "space": "ekman7", "label": label, "score": 0.8})
    new = [
        anna | {"space": "open_words", "label": word, "score": p, "refs": [0]}
        for word, p in (("joyful", 0.8), ("cheerful", 0.4), ("glad", 0.3), ("furious", float("nan")), ("zesty", 0.2))
    ]
    new += [ben | {"space": "open_words", "label": "neutral", "score": 0.9, "refs": [2]}]
    new += [
        anna | {"space": "description", "text": "Anna <b>: perceived happiness (80%).", "refs": [0]},
        ben | {"space": "description", "text": "Ben: the perceived expression is neutral (80%).", "refs": [2]},
    ]
    new += [anna | {"space": "generation", "label": "ok", "text": "<words>joyful</words>"},
            anna | {"space": "generation", "label": "dropped: cue", "text": "The brows are raised."},
            ben | {"space": "generation", "label": "empty", "text": "the answer is empty"}]  # fmt: skip
    counts = {"writer": "small-model", "turns": 2, "fallbacks": 1, "states": {"ok": 1, "empty": 1}, "sentences": 2,
              "dropped": {"cue": 1}, "dropped_words": 0, "left_out": 0}  # fmt: skip
    info = {"kind": "audio", "duration": 8.0, "descriptions": counts}
    return Timeline.from_rows([*listed, *new], {"files": {"talk.wav": info}})


def test_every_label_of_the_shipped_models_but_one_has_a_cell() -> None:
    labels = {n for s in ("ekman7", "ferplus8", "ravdess8", "goemotions28") for n in space(s).labels} - {"neutral"}
    assert {name for name in labels if not d.cell(name)[0]} == {"realization"}
    assert d.cell("ecstatic") == ("joy", 2)
    assert d.cell("annoyed") == ("anger", 0)
    assert d.cell("no such word") == ("", -1)


def test_every_cell_of_the_wheel_is_reached_by_a_word_of_the_tables() -> None:
    reached = {d.cell(word) for word in wheels.load().forms} - {("", -1)}
    assert reached == {(sector, ring) for sector in d.SECTORS for ring in range(3)}


def test_words_add_up_over_turns(told: Timeline) -> None:
    view = one_view(told)
    uses = d.words_of([*view.words, *view.words])
    top = uses[0]
    assert (top.word, top.turns, top.score) == ("neutral", 2, 0.9)
    furious = next(use for use in uses if use.word == "furious")
    assert furious.weight == pytest.approx(2 * d.UNKNOWN)
    assert furious.score != furious.score


def test_the_wheel_is_sound_svg_with_the_words_in_their_cells(told: Timeline) -> None:
    view = one_view(told)
    uses = d.words_of([m for m in view.words if m.speaker != "Ben"])
    svg = ET.fromstring(d.wheel_svg('Anna <b> & "co"', uses))
    assert svg.get("aria-label", "").startswith('Emotion wheel of Anna <b> & "co": joyful')
    paths = svg.findall("path")
    assert len(paths) == 24
    lit = {path.find("title").text: path.get("class") for path in paths if path.find("title") is not None}  # type: ignore[union-attr]
    assert lit == {"joy: joyful, cheerful, glad": "e-happiness on", "anger: furious": "e-anger on"}
    texts = [text.text for text in svg.findall("text")]
    assert {"joyful", "cheerful +1", "furious", *d.SECTORS} == set(texts)


def test_the_page_tells_each_turn_with_its_rows_and_the_counts(told: Timeline, tmp_path: Path) -> None:
    page = report.save(told, tmp_path / "talk.html").read_text(encoding="utf-8")
    assert "In open words" in page
    assert page.count('<svg class="wheel"') == 2
    assert "Anna &lt;b&gt;: perceived happiness (80%)." in page
    assert "Anna <b>" not in page
    assert 'href="#f0-d-r0"' in page
    assert 'id="f0-d-r0"' in page
    assert "by the template</small>" in page
    assert "Not on the wheel: zesty." in page
    assert "The brows are raised." in page
    assert "1 of them by the template instead (1 empty)" in page
    assert "1 of 3 sentences taken out because no row holds them (1 cue)" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_nothing_described_is_nothing_shown(conversation: Timeline, tmp_path: Path) -> None:
    assert "In open words" not in report.save(conversation, tmp_path / "talk.html").read_text(encoding="utf-8")
    assert d.counted({}) == ""
    assert d.counted({"turns": 1, "writer": "template"}) == "1 turn worded by template"


def test_descriptions_become_a_tier_and_no_scores(told: Timeline, tmp_path: Path) -> None:
    text = report.save(told, tmp_path / "talk.TextGrid").read_text(encoding="utf-8")
    assert "Ben: the perceived expression is neutral (80%)." in text
    assert all(curve.space == "ekman7" for person in one_view(told).people for curve in person.curves)

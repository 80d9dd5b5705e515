"""Reports of conversations: a lane per speaker, shifts, hints, who follows whom, headings of several conversations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from affectus import report
from affectus.report.dialogue import dialogue_facts, hint_line, tags_of
from affectus.report.plots import STEPS, curves_spec, turns_per_step
from affectus.report.runs import in_steps
from affectus.report.view import one_view
from affectus.types import Timeline

LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
HINTS = {"marked": 1, "of": 4, "meaning": "the writer may have meant this more kindly than it reads",
         "odds": "right about 1 time in 6", "how_often": "About 1 in 6 such hints is right."}  # fmt: skip
SAID = (("Ben", "happiness"), ("Anna", "neutral"), ("Ben", "anger"), ("Anna", "neutral"), ("", "neutral"))


def rows_of(said: tuple[tuple[str, str], ...] = SAID, several: bool = False) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, (who, label) in enumerate(said):
        base = {"file": "chat.csv", "speaker": who, "frame": number, "perspective": "expressed"}
        talk = str(number // 3) if several else ""
        rows.append(base | {"source": "words", "space": "transcript", "text": f"turn {number} <b>", "label": talk})
        for name in LABELS:
            score = 0.7 if name == label else 0.05
            rows.append(base | {"source": "fusion", "method": "context", "space": "ekman7", "label": name,
                                "score": score, "low": score - 0.04, "high": score + 0.1})  # fmt: skip
            rows.append(base | {"source": "fusion", "method": "running", "space": "state", "label": name, "score": 0.1})
        rows.append(base | {"source": "fusion", "space": "decision", "label": label, "score": 0.7})
    base = {"file": "chat.csv", "speaker": "Ben", "frame": 2, "perspective": "expressed", "source": "fusion"}
    rows.append(base | {"space": "shift", "label": "happiness→anger", "score": 0.5,
                        "text": "Ben: perceived expression moves from happiness (70%) to anger (70%)."})  # fmt: skip
    rows.append(base | {"space": "gap", "source": "words", "label": "writer and reader may differ", "score": 0.3,
                        "text": "weak hint: <i>half</i> of such hints are wrong"})  # fmt: skip
    for name, low in (("Anna→Ben", 0.1), ("Ben→Anna", -0.2)):
        rows.append(base | {"space": "influence", "method": "echo", "label": name, "score": 0.2, "low": low,
                            "high": 0.4, "text": f"After {name.replace('→', ', ')} shows the same."})  # fmt: skip
    rows.append(base | {"space": "influence", "method": "transition", "label": "anger→neutral", "score": 1.0})
    return rows


def timeline(said: tuple[tuple[str, str], ...] = SAID, several: bool = False) -> Timeline:
    counts = {who: sum(name == who for name, _ in said) for who, _ in said}
    info = {"kind": "table", "axis": "turns", "conversations": 2 if several else 1, "speakers": len(set(counts) - {""}),
            "turns_of": counts, "warnings": [], "missing": {}, "gap_hints": HINTS,
            "shifts_right": "Three of four such marks are right."}  # fmt: skip
    return Timeline.from_rows(rows_of(said, several), {"files": {"chat.csv": info}, "version": "1", "models": []})


def page(found: Timeline, tmp_path: Path) -> str:
    return report.save(found, tmp_path / "chat.html").read_text(encoding="utf-8").split('id="plotly"')[0]


def test_one_lane_per_speaker_in_order_of_appearance(tmp_path: Path) -> None:
    view = one_view(timeline())
    assert [person.name for person in view.people] == ["Ben", "Anna", "No name"]
    text = page(timeline(), tmp_path)
    assert re.findall(r'class="person" role="group" aria-label="([^"]+)"', text) == ["Ben", "Anna", "No name"]
    assert "5 turns" in text
    assert "2 speakers" in text


def test_states_and_transitions_are_no_curves() -> None:
    view = one_view(timeline())
    assert all([curve.space for curve in person.curves] == ["ekman7"] for person in view.people)
    assert [mark.label for mark in view.influences] == ["Anna→Ben", "Ben→Anna"]


def test_shifts_and_hints_are_marked_where_they_are(tmp_path: Path) -> None:
    text = page(timeline(), tmp_path)
    assert len(re.findall(r'class="row shifts"', text)) == 1
    assert len(re.findall(r'class="row hints"', text)) == 1
    (turn,) = re.findall(r'<li class="turn[^>]*data-s="2\.000".*?</li>', text, re.S)
    assert "shift: happiness → anger" in turn
    assert "hint: writer and reader may differ" in turn
    assert "<i>half" not in text
    assert "Shifts of perceived expression" in text
    assert "Who follows whom" in text
    assert "Three of four such marks are right." in text
    (lead, listed) = re.findall(r"<h3>Writer and reader may differ</h3>(.*?</p>)(.*?)</section>", text, re.S)[0]
    assert "meant this more kindly than it reads. About 1 in 6 such hints is right." in lead
    assert re.findall(r'<b dir="auto">(.*?)</b>: <q[^>]*>(.*?)</q>', listed) == [("Ben", "turn 2 &lt;b&gt;")]
    assert set(tags_of(one_view(timeline()))) == {(2.0, "Ben")}


def test_facts_name_the_largest_shift_and_only_sure_followers() -> None:
    facts = dialogue_facts(one_view(timeline()))
    assert facts[0] == "One shift of perceived expression is marked: Ben, happiness → anger, no. 3."
    assert [fact for fact in facts if "shows the same" in fact] == ["After Anna, Ben shows the same."]
    assert dialogue_facts(one_view(Timeline.from_rows([{"file": "a", "space": "shift", "label": "x→y"}]))) == []


def test_hints_are_counted_once_in_the_terminal_and_in_the_facts() -> None:
    found = timeline()
    assert "One turn carries a weak hint (right about 1 time in 6) that writer and reader may see it differently." in (
        dialogue_facts(one_view(found))
    )
    line = hint_line(found.meta["files"])
    assert line.startswith("Weak hints: 1 of 4 turns in chat.csv. A hint says: the writer may have meant")
    assert line.endswith("About 1 in 6 such hints is right.")
    assert hint_line({"chat.csv": {"gap_hints": HINTS | {"marked": 0}}, "photo.png": {}}) == ""
    many = hint_line({f"{i}.csv": {"gap_hints": HINTS} for i in range(8)})
    assert "1 of 4 turns in 4.csv, and more in 3 more files. A hint says" in many
    assert many.count("About 1 in 6") == 1


def test_a_long_turn_is_quoted_in_part(tmp_path: Path) -> None:
    rows = [row | {"text": "word " * 100} if row["space"] == "transcript" else row for row in rows_of()]
    text = page(Timeline.from_rows(rows, timeline().meta), tmp_path)
    (quoted,) = re.findall(r"<q[^>]*>(.*?)</q>", text)
    assert quoted.endswith("word …")
    assert len(quoted) < 170


def test_several_conversations_have_headings(tmp_path: Path) -> None:
    text = page(timeline(several=True), tmp_path)
    assert re.findall(r'class="talk"[^>]*>([^<]+)<', text) == ["conversation 0", "conversation 1"]
    assert "2 conversations" in text


def test_a_crowd_gets_lanes_for_those_who_speak_most(tmp_path: Path) -> None:
    said = (*((f"P{i}", "neutral") for i in range(40)), ("Ben", "anger"), ("Ben", "anger"))
    text = page(timeline(said), tmp_path)
    lanes = re.findall(r'class="person" role="group" aria-label="([^"]+)"', text)
    assert len(lanes) == 24
    assert "Ben" in lanes
    assert "17 more people are in the table" in text


def test_a_turn_is_a_level_and_nothing_is_drawn_between() -> None:
    view = one_view(timeline())
    spec = curves_spec(view, view.people[0])
    line = next(trace for trace in spec["data"] if trace["name"] == "anger" and "stackgroup" in trace)
    # Turns 1 and 3: edges at half, a pause without value between.
    np.testing.assert_allclose(line["x"], [0.5, 1.5, 1.5, 2.5, 2.5, 3.5])
    assert np.isnan(line["y"]).tolist() == [False, False, True, True, False, False]
    assert spec["layout"]["xaxis"]["title"]["text"] == "turn"


def test_a_long_conversation_is_drawn_in_steps(tmp_path: Path) -> None:
    said = tuple((("Ben", "Anna")[i % 10 == 3], ("anger", "neutral")[i % 20 == 3]) for i in range(1200))
    view = one_view(timeline(said))
    assert turns_per_step(view) == 10
    anna = next(person for person in view.people if person.name == "Anna")
    spec = curves_spec(view, anna)
    line = next(trace for trace in spec["data"] if trace["name"] == "neutral" and "stackgroup" in trace)
    # Her one turn in ten fills the step of ten turns, and every other of them is neutral.
    np.testing.assert_allclose(line["x"][:4], [0.5, 10.5, 10.5, 20.5])
    np.testing.assert_allclose(line["y"][:4], [0.7, 0.7, 0.05, 0.05], atol=1e-3)
    assert len(line["x"]) == 2 * STEPS
    assert not any(trace.get("type") == "bar" for trace in spec["data"])
    assert "in about 10 turns of the conversation" in page(timeline(said), tmp_path)
    assert turns_per_step(one_view(timeline())) == 1


def test_a_step_is_the_mean_of_its_turns() -> None:
    said = tuple(("Ben", "anger" if i % 4 else "neutral") for i in range(480))
    view = one_view(timeline(said))
    found = in_steps(view.people[0].curves[0], view.duration, 120)
    np.testing.assert_allclose(found.scores[:, found.labels.index("neutral")], (0.7 + 3 * 0.05) / 4)
    np.testing.assert_allclose([found.start[1], found.end[1], found.end[-1]], [4, 8, 480])


def test_the_terminal_counts_turns_and_shifts() -> None:
    rows = {row["who"]: row for row in report.summary(timeline())}
    assert (rows["Ben"]["turns"], rows["Ben"]["shifts"]) == (2, 1)
    assert (rows["Anna"]["turns"], rows["Anna"]["shifts"]) == (2, 0)
    console = Console(width=120, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(report.terminal(timeline()))
    assert "shifts" in capture.get()
    assert "turns" in capture.get()


@pytest.mark.parametrize("suffix", [".vtt", ".eaf", ".TextGrid"])
def test_turns_without_a_time_axis_are_no_tiers(tmp_path: Path, suffix: str) -> None:
    from affectus.errors import AffectusError

    with pytest.raises(AffectusError, match="has no times"):
        report.save(timeline(), tmp_path / f"chat{suffix}")

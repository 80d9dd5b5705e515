"""What is taken from the long table: people, curves, runs, facts, colours."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from affectus import report
from affectus.report import palette
from affectus.report.facts import clock, cue_text, foremost_cues, key_facts
from affectus.report.runs import curve_runs, decision_runs, shares, thin, unsure_turns
from affectus.report.view import Curve, Mark, one_view, views
from affectus.types import Timeline

# Machado, Oliveira & Fernandes (2009), severity 1.0, applied to linear RGB.
SIGHT = {
    "usual": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def oklab(linear: np.ndarray) -> np.ndarray:
    """Linear RGB to OKLab (Ottosson 2020)."""
    to_lms = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                       [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
    to_lab = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                       [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip
    return np.cbrt(np.clip(linear, 0, 1) @ to_lms.T) @ to_lab.T


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("sight", list(SIGHT))
def test_emotion_colours_stay_apart(theme: palette.Theme, sight: str) -> None:
    names = ("happiness", "surprise", "anger", "disgust", "contempt", "fear", "sadness", "calm", "neutral")
    shades = []
    for name in names:
        value = palette.colour(name, theme)
        srgb = np.array([int(value[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        shades.append(np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4))
    lab = oklab(np.array(shades) @ SIGHT[sight].T)
    for (i, a), (j, b) in itertools.combinations(enumerate(names), 2):
        assert np.linalg.norm(lab[i] - lab[j]) > 0.06, (a, b)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_and_colours_stand_out(theme: palette.Theme) -> None:
    page = palette.tokens(theme)
    for ground in ("@surface", "@paper", "@sunken"):
        for text in ("@text", "@muted", "@accent", "@notice"):
            assert palette.contrast(page[text], page[ground]) >= 4.5, (text, ground)
    for name in (
        "happiness",
        "surprise",
        "anger",
        "disgust",
        "contempt",
        "fear",
        "sadness",
        "calm",
        "neutral",
        "other",
    ):
        value = palette.colour(name, theme)
        assert palette.contrast(value, page["@surface"]) >= 2
        assert palette.contrast(palette.ink(value), value) >= 4.5, name


def test_families_follow_the_word_not_the_space() -> None:
    for words in (("angry", "anger", "annoyance", "ANG"), ("sad", "sadness", "grief"), ("joy", "happy", "happiness")):
        assert len({palette.colour(word) for word in words}) == 1
    assert palette.family("something new") == "other"
    assert palette.ordered(["neutral", "sad", "joy"]) == ["joy", "sad", "neutral"]


def test_people_join_tracks_and_speakers(conversation: Timeline) -> None:
    view = one_view(conversation)
    assert [(p.name, p.track, p.speaker) for p in view.people] == [
        ("Anna (face 1)", 1, "Anna"),
        ("Ben (face 2)", 2, "Ben"),
    ]
    assert [c.source for c in view.people[0].curves] == ["fusion", "face", "voice", "words"]
    assert view.people[0].main is not None
    assert view.people[0].main.scores.shape == (60, 7)
    assert np.allclose(view.people[0].main.scores.sum(axis=1), 1)


def test_faces_without_names_do_not_take_what_belongs_to_nobody() -> None:
    face = {"file": "a", "start": 0.0, "end": 1.0, "source": "face", "space": "s", "label": "fear", "score": 0.5}
    rows = [face | {"track": t} for t in (0, 1)]
    rows += [face | {"source": "voice"}, face | {"source": "voice", "speaker": "S1"}]
    people = one_view(Timeline.from_rows(rows)).people
    assert [(p.name, [c.source for c in p.curves]) for p in people] == [
        ("Face 0", ["face"]),
        ("Face 1", ["face"]),
        ("S1", ["voice"]),
        ("Whole recording", ["voice"]),
    ]


def test_texts_get_numbers_by_frame_by_text_or_by_order() -> None:
    turn = {"file": "a.csv", "source": "words", "space": "transcript"}
    score = {"file": "a.csv", "source": "words", "space": "s", "label": "joy", "score": 0.5}
    expected = [0.0, 1.0]
    variants: list[list[dict[str, Any]]] = [
        [turn | {"text": t, "frame": i} for i, t in enumerate("ab")] + [score | {"frame": i} for i in (0, 1)],
        [turn | {"text": t} for t in "ab"] + [score | {"text": t} for t in "ab"],
        [turn | {"text": "a"}, score, turn | {"text": "b"}, score],
    ]
    for rows in variants:
        view = one_view(Timeline.from_rows(rows))
        assert not view.timed
        assert view.people[0].curves[0].start.tolist() == expected
        assert [t.start for t in view.turns] == expected


def test_instants_hold_until_the_next_frame(make: Callable[..., Timeline]) -> None:
    view = one_view(make(duration=4.0, fps=5.0, turns=False))
    face = next(c for c in view.people[0].curves if c.source == "face")
    assert np.allclose(face.end - face.start, 0.2)


def curve(scores: np.ndarray, step: float = 1.0) -> Curve:
    start = np.arange(len(scores)) * step
    labels = tuple("abcdefg"[: scores.shape[1]])
    return Curve("voice", "m", "expressed", "s", labels, start, start + step, scores, scores - 0.1, scores + 0.1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=60), st.integers(2, 20))
def test_thinning_keeps_mean_range_and_span(values: list[list[float]], limit: int) -> None:
    whole = curve(np.array(values))
    few = thin(whole, limit)
    assert len(few.start) <= max(limit, 1) or len(values) <= limit
    assert few.start[0] == whole.start[0]
    assert few.end[-1] == whole.end[-1]
    assert (few.scores <= whole.scores.max(axis=0) + 1e-9).all()
    assert (few.scores >= whole.scores.min(axis=0) - 1e-9).all()
    assert (few.low <= few.scores).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40))
def test_runs_cover_the_time_once_with_the_leading_label(letters: list[str]) -> None:
    scores = np.array([[0.8 if letter == label else 0.1 for label in "abc"] for letter in letters])
    runs = curve_runs(curve(scores))
    assert [r.label for r in runs] == [key for key, _ in itertools.groupby(letters)]
    assert all(a.end == b.start for a, b in itertools.pairwise(runs))
    assert runs[-1].end == len(letters)
    for label, part in shares(runs).items():
        assert part == pytest.approx(letters.count(label) / len(letters))


def test_pauses_keep_runs_apart() -> None:
    whole = curve(np.full((4, 1), 0.9))
    late = np.array([0.0, 1.0, 10.0, 11.0])
    runs = curve_runs(Curve("voice", "m", "expressed", "s", ("a",), late, late + 1, *[whole.scores] * 3))
    assert [(r.start, r.end) for r in runs] == [(0, 2), (10, 12)]


def test_uncertain_stretches_name_the_closest_label(conversation: Timeline) -> None:
    doubtful = [run for run in decision_runs(one_view(conversation).people[1]) if run.uncertain]
    assert doubtful
    assert all(
        run.label in ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral") for run in doubtful
    )


def test_facts_and_summary(conversation: Timeline, several: Callable[..., Timeline]) -> None:
    facts = key_facts(one_view(conversation))
    assert facts[0] == (
        "Anna (face 1): perceived expression is anger 40%, neutral 38%, surprise 8% of the time; "
        "7% left open as uncertain."
    )
    anna, ben = report.summary(conversation)
    assert (anna["who"], anna["seconds"], anna["conflicts"]) == ("Anna (face 1)", 60.0, 0)
    assert (ben["seconds"], ben["conflicts"]) == (58.0, 1)
    valence = conversation.filter(source="fusion", space="va", label="valence", track=2).to_rows()
    assert ben["valence"] == pytest.approx(np.mean([r["score"] for r in valence]))
    failed = Timeline.from_rows([], {"files": {"x.mp4": {"warnings": "cannot be decoded"}}})
    (row,) = report.summary(failed)
    assert (row["file"], row["note"]) == ("x.mp4", "cannot be decoded")


def test_conflicts_of_a_recording_in_which_nobody_is_told_apart_are_counted() -> None:
    row = {"file": "a.wav", "source": "fusion", "score": 0.9}
    rows = [
        {**row, "start": start, "end": start + 1, "space": space, "label": label}
        for start in (0.0, 5.0)
        for space, label in (("ekman7", "anger"), ("decision", "anger"), ("conflict", "voice|words"))
    ]
    (whole,) = report.summary(Timeline.from_rows(rows))
    assert (whole["who"], whole["conflicts"]) == ("Whole recording", 2)


@pytest.mark.parametrize("names", [("meeting of friday.csv",), ("meeting of friday.csv", "b.csv")])
def test_terminal_of_eighty_columns_breaks_no_word(names: tuple[str, ...]) -> None:
    rows, files = [], {}
    for name in names:
        turns = {"Chandler Bing": 2, "Ben": 1}
        files[name] = {"kind": "conversation", "axis": "turns", "speakers": 2, "turns_of": turns}
        for frame, (speaker, label) in enumerate(
            [("Chandler Bing", "happiness"), ("Ben", "fear"), ("Chandler Bing", "surprise")]
        ):
            row = {"file": name, "frame": frame, "speaker": speaker, "source": "fusion", "label": label, "score": 0.9}
            rows += [{**row, "space": space} for space in ("ekman7", "decision")]
            rows.append({**row, "space": "va", "label": "valence", "score": 0.25})
    console = Console(width=80, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(report.terminal(Timeline.from_rows(rows, {"files": files})))
    text = captured.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for word in ("Chandler Bing", "happiness 50%", "surprise 50%", "fear 100%", "+0.25", *names):
        assert text.count(word) >= (1 if word in names else len(names)), word
    assert "conflicts" not in text
    wide = Console(width=140, record=True, file=None, force_terminal=False)
    with wide.capture() as captured:
        wide.print(report.terminal(Timeline.from_rows(rows, {"files": files})))
    assert "conflicts" in captured.get()


def test_terminal_shows_markup_as_text() -> None:
    row = {"file": "[red]a[/red].wav", "start": 0.0, "end": 1.0, "source": "voice", "space": "s", "label": "fear"}
    console = Console(width=100, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(report.terminal(Timeline.from_rows([row | {"score": 0.5}])))
    assert "[red]a[/red].wav" in captured.get()
    assert "fear 100%" in captured.get()


@pytest.mark.parametrize(
    ("seconds", "tenths", "text"),
    [
        (0, False, "0:00"),
        (59.96, True, "1:00.0"),
        (61.25, True, "1:01.2"),
        (3725, False, "1:02:05"),
        (np.nan, True, "–"),
    ],
)
def test_clock(seconds: float, tenths: bool, text: str) -> None:
    assert clock(seconds, tenths) == text


def cue(start: float, score: float, label: str = "pitch", text: str = "") -> Mark:
    return Mark(0, start, start + 1, -1, "", "voice", "", label, score, 0, 0, text)


def test_cues_are_chosen_along_the_whole_recording() -> None:
    cues = [cue(float(t), 1.0 if t % 10 else 2.0) for t in range(1000)]
    chosen = foremost_cues(cues, 50)
    assert len(chosen) <= 50
    assert chosen[0].start < 30
    assert chosen[-1].start > 950
    assert all(c.score == 2.0 for c in chosen[1:-1])
    assert cue_text(cue(0, 1, "pitch", "Pitch is high")) == "Pitch is high"
    assert cue_text(cue(0, 1, "brow", "AU4")) == "brow: AU4"


def test_files_known_from_meta_alone_are_seen() -> None:
    timeline = Timeline.from_rows([{"file": "a"}], {"files": {"b": {"kind": "video"}, "a": {}}})
    assert [(v.file, v.rows) for v in views(timeline)] == [("a", 1), ("b", 0)]


def test_turns_left_open_for_half_of_their_time_are_unsure() -> None:
    row = {"file": "a.wav", "source": "fusion", "score": 0.5}
    labels = ("anger", "uncertain", "uncertain", "anger", "anger", "uncertain")
    rows = [{**row, "start": i, "end": i + 1, "space": "decision", "label": label} for i, label in enumerate(labels)]
    rows += [{**row, "start": i, "end": i + 1, "space": "ekman7", "label": "anger"} for i in range(6)]
    spans = ((0.0, 2.0), (0.0, 1.9), (1.5, 3.5), (3.0, 6.0), (5.0, 5.0), (8.0, 9.0))
    rows += [{**row, "source": "words", "space": "transcript", "text": "x", "start": a, "end": b} for a, b in spans]
    (view,) = views(Timeline.from_rows(rows, {"files": {"a.wav": {"kind": "audio", "duration": 9.0}}}))
    assert [turn.start for turn in view.turns] == sorted(start for start, _ in spans)
    unsure = dict(zip([(turn.start, turn.end) for turn in view.turns], unsure_turns(view), strict=True))
    assert [unsure[span] for span in spans] == [True, False, True, False, True, False]

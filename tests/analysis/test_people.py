"""Who speaks, baselines, voice windows, words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus import models
from affectus.analysis import baseline, perceive_words, speakers
from affectus.analysis.fusion import LABELS, NEUTRAL
from affectus.analysis.perceive_faces import FaceEvidence, FaceWindow
from affectus.analysis.perceive_voice import SpokenTurn, VoicePass, cut_windows, split_by_speaker
from affectus.analysis.perceive_words import WordsTurn
from affectus.analysis.rows import RowSink
from affectus.types import Turn, Window


def view(spans: dict[int, tuple[float, float]], motion: dict[int, float] | None = None) -> speakers.Visibility:
    """Faces in view during spans (s), five pictures a second, windows of one second."""
    windows = {}
    for track, (start, end) in spans.items():
        for number in range(int(start), int(np.ceil(end))):
            entry = FaceWindow()
            for time in np.arange(number, number + 1, 0.2):
                if start <= time < end:
                    entry.tally.add(np.full(7, 1 / 7), (0.0, 0.0))
                    entry.motion += (motion or {}).get(track, 0.0)
            if entry.tally.count:
                windows[track, number] = entry
    return speakers.Visibility(FaceEvidence(windows, {}), 1.0, 5.0)


def turn(start: float, end: float, speaker: str = "") -> SpokenTurn:
    return SpokenTurn(Window(start, end), speaker)


def test_the_only_face_in_view_speaks() -> None:
    turns = [turn(1, 3), turn(12, 14), turn(8, 12)]
    names = speakers.join(turns, view({4: (0, 10)}))
    assert [t.track for t in turns] == [4, -1, 4]
    assert names == {}


def test_of_two_faces_none_speaks_unless_one_mouth_moves() -> None:
    turns = [turn(1, 3)]
    speakers.join(turns, view({0: (0, 10), 1: (0, 10)}))
    assert turns[0].track == -1
    speakers.join(turns, view({0: (0, 10), 1: (0, 10)}, {0: 0.05, 1: 0.6}))
    assert turns[0].track == 1
    speakers.join(turns, view({0: (0, 10), 1: (0, 10)}, {0: 0.5, 1: 0.6}))
    assert turns[0].track == -1


def test_a_name_belongs_to_the_face_it_is_mostly_heard_with() -> None:
    shots = view({0: (0, 10), 1: (10, 20)})
    turns = [turn(1, 4, "Anna"), turn(5, 8, "Anna"), turn(11, 14, "Ben"), turn(15, 16, "Anna")]
    names = speakers.join(turns, shots)
    # the last turn is Anna's, heard over Ben's face
    assert [t.track for t in turns] == [0, 0, 1, -1]
    assert names == {0: "Anna", 1: "Ben"}


def test_without_pictures_nobody_is_joined() -> None:
    turns = [turn(1, 4, "Anna")]
    assert speakers.join(turns, speakers.Visibility(None, 1.0, 5.0)) == {}
    assert turns[0].track == -1


@given(st.floats(0, 100), st.floats(0.1, 30), st.floats(0.5, 5), st.floats(0.2, 3))
def test_voice_windows_cover_the_turn_and_stay_inside(start: float, length: float, size: float, hop: float) -> None:
    span = Window(start, start + length)
    windows = cut_windows(span, size, hop)
    assert windows[0].start == pytest.approx(span.start)
    assert windows[-1].end == pytest.approx(span.end)
    assert all(w.start >= span.start - 1e-6 and w.end <= span.end + 1e-6 for w in windows)
    steps = np.diff([w.start for w in windows])
    assert (steps <= hop + 1e-6).all()
    assert all(w.length <= 1.5 * size + 1e-6 for w in windows)


def test_turns_are_cut_where_the_transcript_changes_speaker() -> None:
    cues = [Turn("a", 0.0, 2.0, "Anna"), Turn("b", 2.0, 3.0, "Anna"), Turn("c", 3.5, 6.0, "Ben"), Turn("d", 9, 10, "X")]
    assert split_by_speaker(Window(0.5, 6.2), cues) == [(Window(0.5, 3.5), "Anna"), (Window(3.5, 6.2), "Ben")]
    assert split_by_speaker(Window(7.0, 8.0), cues) == [(Window(7.0, 8.0), "")]
    assert split_by_speaker(Window(0.5, 6.2), [Turn("a", 0, 7)]) == [(Window(0.5, 6.2), "")]


@pytest.mark.assets
@pytest.mark.parametrize("block", [0.1, 3.7, 10.0])
def test_voice_pass_does_not_depend_on_the_size_of_blocks(speech: np.ndarray, block: float) -> None:
    from affectus.media.speech import SpeechDetector

    model = models.load("voice")
    whole, pieces = (VoicePass(SpeechDetector(), model, 3.0, 1.5) for _ in range(2))  # type: ignore[arg-type]
    whole.push(np.tile(speech, 4))
    whole.finish()
    step = int(block * 16000)
    long = np.tile(speech, 4)
    for begin in range(0, len(long), step):
        pieces.push(long[begin : begin + step])
    pieces.finish()
    assert [t.window for t in whole.turns] == [t.window for t in pieces.turns]
    assert len(whole.turns) > 8
    first, second = ([s.posterior for t in p.turns for s in t.scores] for p in (whole, pieces))
    np.testing.assert_allclose(first, second, atol=1e-4)


def median_evidence(p: np.ndarray, windows: int = 12) -> FaceEvidence:
    entries = {}
    for number in range(windows):
        entry = FaceWindow()
        entry.tally.add(p, (0.0, 0.0))
        entries[0, number] = entry
    return FaceEvidence(entries, {})


def test_baseline_corrects_a_face_that_looks_a_little_sad_at_rest(tmp_path: Path) -> None:
    rest = np.full(7, 0.02)
    rest[NEUTRAL], rest[LABELS.index("sadness")] = 0.55, 0.35
    warnings: list[str] = []
    with RowSink("x", tmp_path) as sink:
        factors = baseline.corrections(median_evidence(rest), sink, warnings)
        rows = sink.finish().to_pylist()
    corrected = rest * factors[0] / (rest * factors[0]).sum()
    assert corrected[LABELS.index("sadness")] < 0.2
    assert corrected[NEUTRAL] > 0.7
    assert not warnings
    assert rows[0]["space"] == "evidence"


def test_baseline_never_takes_a_lasting_expression_away_silently(tmp_path: Path) -> None:
    smile = np.full(7, 0.02)
    smile[LABELS.index("happiness")] = 0.88
    warnings: list[str] = []
    with RowSink("x", tmp_path) as sink:
        factors = baseline.corrections(median_evidence(smile), sink, warnings)
        rows = sink.finish().to_pylist()
    assert factors == {}
    assert "happiness" in warnings[0]
    assert "happiness" in rows[0]["text"]


def test_baseline_needs_more_than_a_moment(tmp_path: Path) -> None:
    with RowSink("x", tmp_path) as sink:
        assert baseline.corrections(median_evidence(np.full(7, 1 / 7), 3), sink, []) == {}


def texts(*sentences: str) -> list[WordsTurn]:
    return [WordsTurn(Turn(text), i) for i, text in enumerate(sentences)]


def test_telling_words_are_those_whose_loss_matters(tmp_path: Path) -> None:
    model = models.load("words")
    items = texts("I am so glad, truly.", "A plain table of wood stands here.", "glad glad glad glad")
    with RowSink("x", tmp_path) as sink:
        perceive_words.perceive(model, items, sink, timed=False)  # type: ignore[arg-type]
        for item in items:
            perceive_words.telling_words(model, item, sink, timed=False)  # type: ignore[arg-type]
        rows = sink.finish().to_pylist()
    assert [word for word, _, _ in items[0].telling] == ["glad"]
    assert items[0].telling[0][1] > 0.5
    assert rows[items[0].telling[0][2]]["text"] == "glad"
    # nothing to tell: no emotion, or no single word carries it
    assert items[1].telling == []
    assert items[2].telling == []


def test_long_turns_are_the_mean_of_their_sentences() -> None:
    model = models.load("words")
    long = " ".join(["I am glad.", *["This is a sentence about a table."] * 20])
    [one] = perceive_words.score(model, [Turn(long)])  # type: ignore[arg-type]
    sentence, filler = perceive_words.score(model, [Turn("I am glad."), Turn("This is a sentence about a table.")])  # type: ignore[arg-type]
    share = len("I am glad.") / (len("I am glad.") + 20 * len("This is a sentence about a table."))
    np.testing.assert_allclose(one.scores, share * sentence.scores + (1 - share) * filler.scores, rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("Hello there", True), ("مرحبا بك", False), ("😀😀", True), ("12:30", True), ("ok, привет всем", False)],
)
def test_script(text: str, wanted: bool) -> None:
    assert perceive_words.latin(text) is wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[laughter]", True),
        ("[sighs] [door] 😀!", True),
        ("[laughter] Stop it", False),
        ("(so glad)", False),
        ("7:30", True),
    ],
)
def test_notes_in_brackets_are_no_words(text: str, wanted: bool) -> None:
    assert perceive_words.wordless(text) is wanted


def test_language_is_guessed_from_common_words() -> None:
    english = "When in the course of human events it becomes necessary for one people to dissolve the bands which have"
    german = "Die Würde des Menschen ist unantastbar und sie zu achten und zu schützen ist Verpflichtung aller Gewalt"
    assert perceive_words.looks_english([Turn(english)] * 5)
    assert not perceive_words.looks_english([Turn(german)] * 5)
    assert perceive_words.looks_english([Turn("Zut alors")])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Ich bin sehr glücklich heute. Das ist furchtbar traurig.", False),
        ("Je suis très content, mais tu ne viens pas.", False),
        ("Estoy muy triste y no quiero que te vayas, pero está bien.", False),
        ("Eu não gosto muito de você", False),
        ("Das ist gut", True),
        ("Non sequitur! Do you know how les gens say that is a con?", True),
        ("s p o o k y", True),
        ("Well, he said: ich bin ein Berliner, and then all of them went home as if it was nothing.", True),
    ],
)
def test_a_few_words_are_enough_where_several_belong_to_another_language(text: str, wanted: bool) -> None:
    assert perceive_words.looks_english([Turn(text)]) is wanted

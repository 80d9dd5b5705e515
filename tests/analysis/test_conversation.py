"""Conversations: context, states, shifts, who follows whom, hints, and the input that comes from real exports."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from affectus import analyze, report
from affectus.analysis.conversation import is_one, on_time_axis
from affectus.analysis.influence import echo
from affectus.analysis.speaker_states import DECAY
from affectus.models.common_space import LABELS, divergence
from affectus.models.dialogue import ContextReading, GapHints, context_features, log_odds, rows_before, softmax
from affectus.types import Conversation, Timeline, Turn

TALK = (
    ("Anna", "I am so glad"),
    ("Ben", "Wow!"),
    ("Anna", "He was furious and angry"),
    ("Ben", "the table"),
    ("Anna", "the chair"),
)


def written(path: Path, rows: str) -> Path:
    path.write_text(rows, encoding="utf-8")
    return path


def chat(path: Path, talk: tuple[tuple[str, str], ...] = TALK) -> Path:
    return written(path, "speaker,text\n" + "".join(f'{who},"{text}"\n' for who, text in talk))


def facts(timeline: Timeline) -> dict:
    return next(iter(timeline.meta["files"].values()))


# --- what is a conversation -------------------------------------------------------------------------------------------


def talk_of(*speakers: str, name: str = "x") -> Conversation:
    return Conversation(name, tuple(Turn("hi", speaker=speaker) for speaker in speakers))


def test_speakers_make_a_conversation_and_strangers_do_not() -> None:
    assert is_one([talk_of("A", "B", "A")])
    assert is_one([talk_of("A")])
    assert not is_one([talk_of("", "", "")])
    assert not is_one([talk_of(*(f"user {i}" for i in range(30)))])
    assert is_one([talk_of(*(f"user {i}" for i in range(20))), talk_of("C", "D", name="y")])


def test_the_axis_is_time_only_where_turns_fill_it() -> None:
    def timed(*spans: tuple[float, float]) -> list[Conversation]:
        return [Conversation("x", tuple(Turn("hi", a, b, "A") for a, b in spans))]

    assert on_time_axis(timed((0, 2), (2, 4)))
    assert not on_time_axis(timed((900, 902), (902, 904)))  # a scene from the middle of an episode
    assert not on_time_axis(timed((0, 2), (float("nan"), 4)))
    assert not on_time_axis(timed((5, 9), (1, 4)))
    assert not on_time_axis([*timed((0, 2)), *timed((0, 2))])


def test_a_table_of_texts_stays_one(tmp_path: Path) -> None:
    timeline = analyze(written(tmp_path / "posts.csv", "id,text\n1,I am so glad\n2,He was furious\n"))
    assert "conversations" not in facts(timeline)
    assert not {"state", "shift", "influence"} & set(timeline.table["space"].to_pylist())
    threads = analyze(written(tmp_path / "threads.csv", "thread,text\na,glad\nb,sad\na,wow\n"))
    assert [r["text"] for r in threads.filter(space="transcript").to_rows()] == ["glad", "sad", "wow"]


def test_texts_with_times_and_no_ends_are_summed_up_by_number(tmp_path: Path) -> None:
    timeline = analyze(written(tmp_path / "posts.csv", "text,time\nI am so glad,1\nHe was furious,2\n"))
    (row,) = report.summary(timeline)
    assert (row["mostly"], row["uncertain"]) == ("happiness 50%, anger 50%", 0.0)


# --- context ----------------------------------------------------------------------------------------------------------


def test_rows_before_are_those_of_the_same_speaker_and_of_anybody() -> None:
    own, anybody = rows_before(["a", "b", "a", "a", "b"])
    assert own.tolist() == [-1, -1, 0, 2, 1]
    assert anybody.tolist() == [-1, 0, 1, 2, 3]


def test_features_hold_the_turn_and_its_context() -> None:
    outputs = np.random.default_rng(0).uniform(0.01, 0.99, (3, 31))
    values = log_odds(outputs)
    found = context_features(outputs, ["a", "b", "a"])
    assert found.shape == (3, 95)
    np.testing.assert_array_equal(found[:, :31], values)
    np.testing.assert_array_equal(found[2, 31:62], values[0])
    np.testing.assert_array_equal(found[2, 62:93], values[1])
    np.testing.assert_array_equal(found[:, 93:], [[0, 0], [0, 1], [1, 1]])
    assert not found[0, 31:].any()


def test_what_comes_later_changes_nothing() -> None:
    outputs = np.random.default_rng(1).uniform(0.01, 0.99, (6, 31))
    reading = ContextReading.load(packaged("context"))
    whole = reading.posterior(outputs, list("abcabc"))
    np.testing.assert_allclose(reading.posterior(outputs[:4], list("abca")), whole[:4])
    np.testing.assert_allclose(whole.sum(1), 1)


def packaged(name: str) -> Path:
    import affectus.models

    return Path(affectus.models.__file__).parent / "weights" / name


def test_the_packaged_cards_say_how_good_they_are() -> None:
    reading, hints = ContextReading.load(packaged("context")), GapHints.load(packaged("gap"))
    assert hints.card.metrics["lift_of_hints"]["low"] > 1
    assert reading.card.metrics["weighted_f1"]["low"] > reading.card.baselines["words_model"]["weighted_f1"]
    assert reading.card.baselines["shipped_minus_turn"]["nll"]["high"] < 0
    assert hints.card.metrics["precision_of_hints"]["value"] > hints.card.metrics["base_rate"]["value"]
    assert reading.weights.shape == (len(reading.mean), len(LABELS))
    assert sum(path.stat().st_size for name in ("context", "gap") for path in packaged(name).iterdir()) < 100_000


def test_without_context_the_words_model_stands_alone(tmp_path: Path) -> None:
    path = chat(tmp_path / "chat.csv")
    with_it, without = analyze(path), analyze(path, context=False)
    assert "context" in {card["name"] for card in with_it.meta["models"]}
    assert "context" not in {card["name"] for card in without.meta["models"]}
    assert len(with_it.filter(space="decision")) == len(without.filter(space="decision")) == 5


# --- states, shifts, influence ----------------------------------------------------------------------------------------


def test_states_and_shifts_of_every_speaker(tmp_path: Path, sound_timeline: Callable[[Timeline], None]) -> None:
    timeline = analyze(chat(tmp_path / "chat.csv"))
    sound_timeline(timeline)
    rows = timeline.to_rows()
    decided = {r["frame"]: r["label"] for r in rows if r["space"] == "decision"}
    assert decided == {0: "happiness", 1: "surprise", 2: "anger", 3: "neutral", 4: "neutral"}
    shifts = [(r["speaker"], r["frame"], r["label"]) for r in rows if r["space"] == "shift"]
    assert shifts == [("Anna", 2, "happiness→anger"), ("Ben", 3, "surprise→neutral"), ("Anna", 4, "anger→neutral")]
    for row in (r for r in rows if r["space"] == "shift"):
        assert 0.25 <= row["score"] <= 1
        assert [rows[ref]["space"] for ref in row["refs"]] == ["ekman7", "ekman7"]
        assert "perceived expression moves" in row["text"]
    scores = {(r["frame"], r["label"]): r["score"] for r in rows if r["source"] == "fusion" and r["space"] == "ekman7"}
    states = {(r["frame"], r["label"]): r["score"] for r in rows if r["space"] == "state"}
    assert states[0, "anger"] == pytest.approx(scores[0, "anger"])
    assert states[2, "anger"] == pytest.approx(DECAY * scores[0, "anger"] + (1 - DECAY) * scores[2, "anger"])


def test_a_shift_needs_two_sure_turns(tmp_path: Path) -> None:
    path = chat(tmp_path / "chat.csv")
    assert len(analyze(path, confidence=1.0).filter(space="shift")) == 0


def test_divergence_is_in_bits() -> None:
    one, other = np.eye(7)[[0]], np.eye(7)[[1]]
    assert divergence(one, other) == pytest.approx(1)
    assert divergence(one, one) == pytest.approx(0)
    assert divergence(one, (one + other) / 2) == pytest.approx(0.3112781, abs=1e-6)


def test_echo_is_agreement_beyond_chance() -> None:
    assert echo(np.eye(2) * 5) == pytest.approx(0.5)
    assert echo(np.ones((2, 2))) == pytest.approx(0)
    assert echo(np.array([[0.0, 5.0], [5.0, 0.0]])) == pytest.approx(-0.5)
    assert echo(np.zeros((3, 3))) == 0


def test_who_follows_whom_is_told_with_its_transitions(
    tmp_path: Path, sound_timeline: Callable[[Timeline], None]
) -> None:
    moods = ("I am glad", "so furious", "very sad")
    talk = tuple((who, moods[k % 3]) for k in range(12) for who in ("Anna", "Ben"))
    timeline = analyze(chat(tmp_path / "chat.csv", talk))
    sound_timeline(timeline)
    found = {r["label"]: r for r in timeline.filter(space="influence", method="echo").to_rows()}
    assert found["Anna→Ben"]["score"] == pytest.approx(2 / 3)
    assert found["Anna→Ben"]["low"] > 0
    assert found["Ben→Anna"]["score"] < 0
    assert "12 of 12 replies" in found["Anna→Ben"]["text"]
    assert "not a cause" in found["Anna→Ben"]["text"]
    steps = timeline.filter(space="influence", method="transition", speaker="Ben").to_rows()
    assert {(r["label"], r["score"]) for r in steps} == {
        ("anger→anger", 1.0), ("happiness→happiness", 1.0), ("sadness→sadness", 1.0)}  # fmt: skip


def test_few_replies_tell_nothing(tmp_path: Path) -> None:
    assert len(analyze(chat(tmp_path / "chat.csv")).filter(space="influence")) == 0


# --- hints ------------------------------------------------------------------------------------------------------------


def with_threshold(threshold: float, monkeypatch: pytest.MonkeyPatch) -> GapHints:
    """Hints that every analysis loads, with another threshold."""
    changed = replace(GapHints.load(packaged("gap")), threshold=threshold)
    monkeypatch.setattr(GapHints, "load", classmethod(lambda cls, folder=None: changed))
    return changed


def test_hints_are_given_from_their_threshold_and_say_how_often_they_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound_timeline: Callable[[Timeline], None]
) -> None:
    path = chat(tmp_path / "chat.csv")
    hints = with_threshold(0.0, monkeypatch)
    timeline = analyze(path)
    sound_timeline(timeline)
    marked = timeline.filter(space="gap").to_rows()
    assert [row["frame"] for row in marked] == [0, 1, 2, 3, 4]
    assert {row["text"] for row in marked} == {
        f"the writer may have meant this more kindly than it reads (weak hint, {hints.odds})"
    }
    assert facts(timeline)["warnings"] == []
    about = facts(timeline)["gap_hints"]
    assert (about["marked"], about["of"], about["how_often"]) == (5, 5, hints.how_often)
    assert "gap" in {card["name"] for card in timeline.meta["models"]}
    scores = sorted(row["score"] for row in marked)
    with_threshold(scores[-2], monkeypatch)
    assert [row["score"] for row in analyze(path).filter(space="gap").to_rows()] == pytest.approx(scores[-2:])


def test_hints_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_threshold(0.0, monkeypatch)
    timeline = analyze(chat(tmp_path / "chat.csv"), gap_hints=False)
    assert len(timeline.filter(space="gap")) == 0
    assert "gap_hints" not in facts(timeline)
    assert "gap" not in {card["name"] for card in timeline.meta["models"]}


def test_no_hint_for_those_who_do_not_write_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    german = "glad Die Würde des Menschen ist unantastbar und sie zu achten ist Verpflichtung aller Gewalt hier"
    english = "I am glad that you are here with me and that we can go to the sea as you said it"
    with_threshold(0.0, monkeypatch)
    timeline = analyze(chat(tmp_path / "a.csv", (("Ida", german), ("Eve", english)) * 6))
    assert {row["speaker"] for row in timeline.filter(space="gap").to_rows()} == {"Eve"}
    assert facts(timeline)["gap_hints"]["of"] == 6


def test_the_words_about_hints_are_the_numbers_of_the_card() -> None:
    hints = GapHints.load(packaged("gap"))
    numbers = {
        "precision_of_hints": {"value": 0.25, "low": 0.2, "high": 0.31},
        "base_rate": {"value": 0.07},
        "recall_of_hints": {"value": 0.4},
        "share_hinted": {"value": 0.11},
    }
    other = replace(hints, card=replace(hints.card, metrics=numbers, inputs={"direction": "reader higher"}))
    assert other.odds == "right about 1 time in 4"
    assert other.how_often.startswith("About 1 in 4 such hints is right (25%; 95% interval 20% to 31%); by chance")
    assert "1 in 14 (7%). 60% of such gaps get no hint." in other.how_often
    assert "where 11% of sentences get one" in other.how_often
    assert other.meaning == "the writer may have meant this less kindly than it reads"


def test_how_often_shifts_are_right_is_said_where_it_was_measured(tmp_path: Path) -> None:
    reading = ContextReading.load(packaged("context"))
    measured = reading.card.calibration["cross_validation"]["shifts"]["dev"]
    assert reading.how_often.startswith(f"{measured['precision']:.0%} of such marks are right")
    assert replace(reading, card=replace(reading.card, calibration={})).how_often == ""


def test_the_score_of_hints_is_a_logistic_of_its_features() -> None:
    hints = GapHints.load(packaged("gap"))
    outputs = np.random.default_rng(2).uniform(0.01, 0.99, (5, 31))
    found = hints.score(outputs)
    assert ((found > 0) & (found < 1)).all()
    np.testing.assert_allclose(hints.score(outputs[2:3]), found[2:3])
    np.testing.assert_allclose(softmax(np.zeros((1, 4))), 0.25)


# --- input as it comes ------------------------------------------------------------------------------------------------


def test_subtitles_with_names_run_in_time(tmp_path: Path, sound_timeline: Callable[[Timeline], None]) -> None:
    path = tmp_path / "talk.vtt"
    path.write_text(
        "WEBVTT\n\n00:01.000 --> 00:04.000\n<v Anna>I am so glad\n\n00:04.000 --> 00:06.000\n<v Ben>Wow!\n\n"
        "00:06.000 --> 00:09.000\n<v Anna>I am furious\n"
    )
    timeline = analyze(path)
    sound_timeline(timeline)
    assert facts(timeline)["axis"] == "time"
    assert {r["speaker"] for r in timeline.filter(space="state").to_rows()} == {"Anna", "Ben"}
    (shift,) = timeline.filter(space="shift").to_rows()
    assert (shift["speaker"], shift["start"], shift["frame"]) == ("Anna", 6.0, -1)


def test_empty_utterances_and_missing_speakers(tmp_path: Path, sound_timeline: Callable[[Timeline], None]) -> None:
    path = written(tmp_path / "a.jsonl", '{"user":"A","text":"I am glad"}\n{"user":"B","text":""}\n'
                   '{"text":"so sad"}\n{"user":null,"text":"wow"}\n{"user":"A","text":"   "}\n')  # fmt: skip
    timeline = analyze(path)
    sound_timeline(timeline)
    assert [r["speaker"] for r in timeline.filter(space="transcript").to_rows()] == ["A", "", ""]
    assert any("2 of 3 turns have no speaker" in w for w in facts(timeline)["warnings"])
    assert any("2 of 5 rows hold no text" in w for w in facts(timeline)["warnings"])


def test_missing_times_go_by_turns(tmp_path: Path) -> None:
    timeline = analyze(written(tmp_path / "a.csv", "name,time,text\nA,5,glad\nB,,sad\nA,soon,wow\n"))
    assert facts(timeline)["axis"] == "turns"
    assert [r["frame"] for r in timeline.filter(space="decision").to_rows()] == [0, 1, 2]
    assert any("'soon'" in w for w in facts(timeline)["warnings"])


def test_interleaved_conversations_keep_their_own_context(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "dialogue,speaker,text\n1,A,glad\n2,A,sad\n1,A,table\n2,A,chair\n")
    timeline = analyze(path)
    said = [(r["label"], r["text"]) for r in timeline.filter(space="transcript").to_rows()]
    assert said == [("1", "glad"), ("1", "table"), ("2", "sad"), ("2", "chair")]
    assert [r["label"] for r in timeline.filter(space="shift").to_rows()] == ["happiness→neutral", "sadness→neutral"]


def test_a_conversation_in_a_legacy_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("speaker;text\nJörg;I am glad, Zoë\nZoë;so sad about the café\n".encode("cp1252"))
    timeline = analyze(path)
    assert [r["speaker"] for r in timeline.filter(space="decision").to_rows()] == ["Jörg", "Zoë"]
    assert any("cp1252" in w for w in facts(timeline)["warnings"])


def test_one_turn(tmp_path: Path, sound_timeline: Callable[[Timeline], None]) -> None:
    timeline = analyze(written(tmp_path / "a.csv", "speaker,text\nAnna,I am so glad\n"))
    sound_timeline(timeline)
    assert facts(timeline)["turns_of"] == {"Anna": 1}
    assert len(timeline.filter(space="state")) == 7
    assert len(timeline.filter(space="shift")) == 0


def test_two_thousand_turns(tmp_path: Path) -> None:
    words = ("glad", "furious", "sad", "table")
    rows = "".join(f"P{i % 5},I am with the {words[i * 7 % 4]} of {i}\n" for i in range(2000))
    timeline = analyze(written(tmp_path / "long.csv", f"speaker,text\n{rows}"))
    assert len(timeline.filter(space="decision")) == 2000
    assert timeline.filter(space="explanation").table.num_rows <= 200
    out = timeline.save(tmp_path / "long.html")
    assert out.stat().st_size < 12_000_000


def test_emoji_alone_are_no_words(tmp_path: Path, sound_timeline: Callable[[Timeline], None]) -> None:
    timeline = analyze(chat(tmp_path / "a.csv", (("A", "I am glad"), ("B", "😂😂"), ("A", "👍 123"))))
    sound_timeline(timeline)
    assert [r["frame"] for r in timeline.filter(space="decision").to_rows()] == [0]
    assert any("2 of 3 turns hold no word" in w for w in facts(timeline)["warnings"])
    only = analyze(chat(tmp_path / "b.csv", (("A", "😂"), ("B", "😢"))))
    assert len(only.filter(space="transcript")) == 2
    assert len(only.filter(space="decision")) == 0


def test_another_language_is_said_and_less_sure(tmp_path: Path) -> None:
    german = "glad Die Würde des Menschen ist unantastbar und sie zu achten ist Verpflichtung aller Gewalt hier"
    english = "I am glad that you are here with me and that we can go to the sea as you said it"
    talk = tuple((who, text) for _ in range(6) for who, text in (("Ida", german), ("Eve", english)))
    timeline = analyze(chat(tmp_path / "a.csv", talk))
    (warning,) = (w for w in facts(timeline)["warnings"] if "do not look English" in w)
    assert "Ida" in warning
    assert "Eve" not in warning
    best = {r["speaker"]: r["score"] for r in timeline.filter(space="decision").to_rows()}
    assert best["Ida"] < best["Eve"]


def test_a_talk_all_in_another_language_is_less_sure_unless_told(tmp_path: Path) -> None:
    talk = (("Anna", "Ich bin so wütend und das ist nicht glad"), ("Bert", "Das tut mir sehr leid und ich gehe nicht"))
    path = chat(tmp_path / "a.csv", talk * 2)
    timeline, taken = analyze(path), analyze(path, language="en")
    assert any("the turns do not look English" in w for w in facts(timeline)["warnings"])
    assert not any("look English" in w for w in facts(taken)["warnings"])
    pairs = zip(timeline.filter(space="decision").to_rows(), taken.filter(space="decision").to_rows(), strict=True)
    assert all(less["score"] < full["score"] for less, full in pairs)


@pytest.mark.corpus
def test_real_dialogues_are_read_better_in_context(tmp_path: Path, shared_data: Path, shipped_models: Path) -> None:
    from affectus import corpora
    from affectus.labels import map_between

    corpus = corpora.load("meld", shared_data / "meld").split("valid")
    rows = np.concatenate(list(corpus.dialogues().values())[:15])
    columns = {name: corpus.column(name) for name in ("group:dialogue", "speaker", "text", "label:meld7")}
    path = tmp_path / "talks.jsonl"
    keys = ("dialogue", "speaker", "text")
    lines = [dict(zip(keys, (columns[c][i] for c in columns), strict=False)) for i in rows]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    to_ekman = map_between("meld7", "ekman7").matrix.argmax(1)
    order = corpus.labels("label:meld7")
    truth = [LABELS[to_ekman[order.index(columns["label:meld7"][i])]] for i in rows]
    right = {}
    for context in (True, False):
        timeline = analyze(path, context=context)
        scores = timeline.filter(source="fusion", space="ekman7").to_rows()
        best: dict[int, tuple[float, str]] = {}
        for row in scores:
            best[row["frame"]] = max(best.get(row["frame"], (0.0, "")), (row["score"], row["label"]))
        right[context] = np.mean([truth[frame] == label for frame, (_, label) in best.items()])
        assert len(best) >= len(rows) - 2
    assert right[True] > right[False] + 0.05


def test_a_scene_from_the_middle_of_an_episode_goes_by_turns(tmp_path: Path) -> None:
    rows = 'A,"I am so glad","00:16:16,059","00:16:18,000"\nB,furious me,"00:16:18,500","00:16:20,000"\n'
    timeline = analyze(written(tmp_path / "a.csv", f"Speaker,Utterance,StartTime,EndTime\n{rows}"))
    assert facts(timeline)["axis"] == "turns"
    decided = timeline.filter(space="decision").to_rows()
    assert [(r["frame"], r["start"]) for r in decided] == [(0, 976.059), (1, 978.5)]
    told = timeline.filter(space="explanation").to_rows()
    assert {(r["speaker"], r["frame"]) for r in told} == {("A", 0), ("B", 1)}
    assert "“glad”" in next(r["text"] for r in told if r["speaker"] == "A")
    assert "“glad”" not in next(r["text"] for r in told if r["speaker"] == "B")


def test_two_encodings_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = "speaker,text\n" + "Zoë,I am glad about the café\n" * 20
    path.write_bytes(rows.encode() + "José,so sad\n".encode("cp1252"))
    timeline = analyze(path)
    assert timeline.filter(space="transcript").to_rows()[0]["speaker"] == "Zoë"
    assert len(timeline.filter(space="decision")) == 21
    assert timeline.filter(space="transcript").to_rows()[-1]["speaker"] == "José"
    assert any("not valid UTF-8" in w for w in facts(timeline)["warnings"])


def test_another_reading_is_another_run(tmp_path: Path, fake_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectus.analysis import Settings, analyze_each

    path = chat(tmp_path / "chat.csv")
    for expected in (False, True):
        (outcome,) = analyze_each(path, Settings(), tmp_path / "out", ("parquet",))
        assert outcome.resumed is expected
    other = tmp_path / "models"
    shutil.copytree(fake_models, other)
    card = other / "context/card.json"
    card.write_text(card.read_text().replace('"shift": 0.25', '"shift": 0.9'))
    monkeypatch.setenv("AFFECTUS_MODELS", str(other))
    (outcome,) = analyze_each(path, Settings(), tmp_path / "out", ("parquet",))
    assert not outcome.resumed

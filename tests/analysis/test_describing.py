"""Facts, checks and descriptions on a small table written by hand: every row is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.analysis import grounding
from affectus.analysis.accounts import Account, accounts
from affectus.analysis.describing import describe, template, when
from affectus.lm.verbaliser import Generation, Request, read_generation
from affectus.types import Timeline

FACE = ("neutral", "happiness", "sadness", "anger")


class Scripted:
    """A writer that says what it is told to."""

    name = "scripted"
    identity: Mapping[str, Any] = {"model": "scripted"}

    def __init__(self, *answers: Generation) -> None:
        self.answers = answers
        self.asked: list[Request] = []

    def write(self, request: Request) -> Generation:
        self.asked.append(request)
        return self.answers[(len(self.asked) - 1) % len(self.answers)]


def ok(words: str, text: str) -> Generation:
    return read_generation(f"<words>{words}</words><explanation>{text}</explanation>")


def rows() -> list[dict[str, Any]]:
    """Anna (face 0) is glad at 1–3 s, in face and words, while her voice sounds angry; Ben (face 1) never speaks."""
    anna = {"track": 0, "speaker": "Anna", "start": 1.0, "end": 3.0}
    said = anna | {"source": "words", "perspective": "expressed"}
    fused = anna | {"source": "fusion", "method": "log-linear"}
    found = [said | {"space": "transcript", "text": "I am so glad about the flat."}]
    for label, p in (("joy", 0.8), ("gratitude", 0.3), ("fear", 0.01), ("neutral", 0.1)):
        found.append(said | {"space": "goemotions28", "label": label, "score": p})
    found.append(said | {"space": "evidence", "method": "leave-one-out", "label": "word", "score": 0.5, "text": "glad"})
    for time in (1.2, 2.2):
        for label, p in zip(FACE, (0.05, 0.9 if time > 2 else 0.7, 0.02, 0.03), strict=True):
            found.append({"track": 0, "start": time, "end": time, "source": "face", "space": "ferplus8", "label": label,
                          "score": p})  # fmt: skip
    found.append({"track": 0, "start": 2.2, "end": 2.2, "source": "face", "space": "evidence", "method": "blendshapes",
                  "label": "mouth corners raised", "score": 0.8, "text": "mouth corners raised (AU12)"})  # fmt: skip
    voice = anna | {"source": "voice"}
    found += [voice | {"space": "ravdess8", "label": n, "score": p} for n, p in (("angry", 0.6), ("calm", 0.02))]
    found.append(voice | {"space": "evidence", "method": "prosody", "label": "energy_db", "score": 2.0,
                          "text": "louder than this speaker's median (+4.2 dB)"})  # fmt: skip
    found.append(fused | {"space": "va", "label": "valence", "score": 0.4})
    found.append(fused | {"space": "decision", "label": "happiness", "score": 0.85})
    found.append(fused | {"space": "conflict", "label": "face|voice", "score": 0.55})
    ben = {"track": 1, "speaker": "Ben", "source": "fusion", "space": "decision"}
    for time in (1.0, 2.0, 3.0, 4.0):
        label = "sadness" if time > 1 else "uncertain"
        found.append(ben | {"start": time, "end": time + 1, "label": label, "score": 0.6})
        found.append({"track": 1, "start": time, "end": time, "source": "face", "space": "ferplus8", "label": "sadness",
                      "score": 0.6})  # fmt: skip
    return found


@pytest.fixture(scope="module")
def talk() -> Timeline:
    meta = {"files": {"talk.mp4": {"kind": "video", "duration": 6.0}}}
    return Timeline.from_rows([{"file": "talk.mp4", **row} for row in rows()], meta)


@pytest.fixture(scope="module")
def anna(talk: Timeline) -> Account:
    return next(a for a in accounts(talk, "talk.mp4")[0] if a.who == "Anna")


def test_turns_of_speakers_and_stretches_of_silent_faces(talk: Timeline) -> None:
    found, left_out = accounts(talk, "talk.mp4")
    assert [(a.who, a.start, a.end) for a in found] == [("Anna", 1.0, 3.0), ("Ben", 2.0, 5.0)]
    assert left_out == 0
    assert found[0].others == ("Ben",)
    assert when(found[0]) == "0:01.0–0:03.0"


def test_the_template_says_what_the_rows_say(talk: Timeline, anna: Account) -> None:
    table = {row["row"]: row for row in talk.to_rows()}
    told = {kept.text: [table[r]["label"] for r in kept.rows] for kept in template(anna)}
    assert told == {
        "Anna: perceived happiness (85%).": ["happiness"],
        "The face shows happiness (90%).": ["happiness"],
        "Visible in the face: mouth corners raised (AU12).": ["mouth corners raised"],
        "The voice sounds closest to angry (60%).": ["angry"],
        "In the voice: louder than this speaker's median (+4.2 dB).": ["energy_db"],
        "The words express joy (80%) and gratitude (30%).": ["joy", "gratitude"],
        "Most telling of the words: “glad”.": ["word"],
        "The words name “glad”.": [""],
        "The face and the voice point to different expressions (0.55 of 1 bit).": ["face|voice"],
    }
    assert list(anna.words) == ["happiness", "joy", "angry", "gratitude", "glad"]
    assert anna.words["happiness"][0] == pytest.approx(0.9)


def test_every_wording_of_every_fact_passes_the_check(talk: Timeline) -> None:
    for account in accounts(talk, "talk.mp4")[0]:
        for fact in account.facts:
            for way in fact.ways if fact.told else ():
                checked = grounding.check(way, account)
                assert not checked.dropped, way
                assert set(fact.rows) & {row for kept in checked.kept for row in kept.rows}, way


@pytest.mark.parametrize(
    "text",
    [
        "The face is happy with raised mouth corners, while the voice sounds angry and louder than usual.",
        "Anna is perceived as joyful and grateful.",
        "The smile is clear.",
        "At 0:02 the face shows happiness (90%).",
        "The words “so glad” suggest joy.",
        "Overall the expression is positive.",
        "There is no sign of fear.",
        "The face and the voice disagree.",
        "Anna speaks about the flat in words of joy.",
    ],
)
def test_sentences_with_rows_stay(anna: Account, text: str) -> None:
    checked = grounding.check(text, anna)
    assert [kept.text for kept in checked.kept] == [text], checked.dropped
    assert checked.kept[0].rows


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The voice sounds happy.", "emotion"),
        ("The face shows fear.", "emotion"),
        ("Anna is sad.", "emotion"),
        ("Anna is not happy.", "emotion"),
        ("There is no disgust.", "emotion"),
        ("The expression is negative.", "emotion"),
        ("The voice sounds angry while the face is sad.", "emotion"),
        ("The brows are lowered and the face looks happy.", "cue"),
        ("The voice is quieter and sounds angry.", "cue"),
        ("AU4 is visible in the face.", "cue"),
        ("The background suggests joy.", "modality"),
        ("Ben is happy.", "person"),
        ("Her face shows happiness.", "person"),
        ("The young speaker is happy.", "person"),
        ("Anna thanks Klara with joy.", "person"),
        ("At 0:09 the face shows happiness.", "time"),
        ("After 25 seconds the face shows happiness.", "time"),
        ("The face shows happiness (97%).", "number"),
        ("There are 7 signs of happiness.", "number"),
        ("The words “never again” express joy.", "quotation"),
        ("The face shows happiness because of the lottery.", "claim"),
        ("Thereby it is as it is.", "claim"),
        ("It is what it is.", "empty"),
    ],
)
def test_sentences_without_rows_are_dropped_with_the_reason(anna: Account, text: str, reason: str) -> None:
    checked = grounding.check(f"{text} The face shows happiness (90%).", anna)
    assert [kept.text for kept in checked.kept] == ["The face shows happiness (90%)."]
    assert [(d.text, d.reason) for d in checked.dropped] == [(text, reason)]
    assert checked.reasons() == {reason: 1}


def test_a_missing_modality_cannot_be_spoken_of(talk: Timeline) -> None:
    ben = accounts(talk, "talk.mp4")[0][1]
    assert grounding.check("The voice sounds sad.", ben).dropped[0].reason == "modality"
    assert grounding.check("The face is sad.", ben).kept


def test_words_need_a_fact_of_the_same_family(anna: Account) -> None:
    checked = grounding.check_words(["Joyful", "thankful", "furious", "sad", "", "happy"], anna)
    assert [kept.text for kept in checked.kept] == ["joyful", "thankful", "happy"]
    assert [dropped.text for dropped in checked.dropped] == ["furious", "sad"]


def test_an_emotion_that_is_only_spoken_of_is_told_of_the_words_alone() -> None:
    said = {"file": "a", "source": "words", "space": "transcript", "text": "My sister was sad.", "frame": 0}
    timeline = Timeline.from_rows([said], {"files": {"a": {"kind": "text"}}})
    (text,) = accounts(timeline, "a")[0]
    assert grounding.check("The words speak of sadness.", text).kept
    assert grounding.check("There is sadness.", text).dropped[0].reason == "emotion"


def test_a_name_that_is_an_emotion_word_is_a_name() -> None:
    decision = {"track": 0, "speaker": "Joy", "source": "fusion", "start": 0.0, "end": 1.0}
    listed = [decision | {"space": "decision", "label": "sadness", "score": 0.7}]
    timeline = Timeline.from_rows([{"file": "a", **row} for row in listed], {"files": {"a": {"kind": "video"}}})
    (joy,) = accounts(timeline, "a")[0]
    assert grounding.check("Joy: perceived sadness (70%).", joy).kept
    assert grounding.check("Joy is joyful.", joy).dropped[0].reason == "emotion"


@given(text=st.text(max_size=200))
def test_the_check_takes_any_text(text: str) -> None:
    known = Account("Anna", 0, "Anna", 0.0, 1.0)
    checked = grounding.check(text, known)
    assert not checked.kept
    assert len(checked.dropped) <= len(grounding.sentences(text))


def test_describing_adds_rows_and_counts(talk: Timeline) -> None:
    described = describe(talk)
    table = described.to_rows()
    assert [row["row"] for row in table] == list(range(len(table)))
    new = table[len(talk) :]
    assert {row["space"] for row in new} == {"open_words", "description"}
    assert all(row["refs"] and max(row["refs"]) < len(talk) for row in new)
    assert {row["method"] for row in new} == {"template"}
    counts = described.meta["files"]["talk.mp4"]["descriptions"]
    assert (counts["turns"], counts["writer"], counts["fallbacks"]) == (2, "template", 0)
    assert counts["sentences"] == sum(row["space"] == "description" for row in new)
    again = describe(described)  # NaN is no NaN, hence the texts
    assert str(again.to_rows()) == str(described.to_rows())


def test_a_writer_is_checked_and_its_raw_answer_kept(talk: Timeline) -> None:
    answer = ok("joyful, terrified", "The face is happy. The lottery was won. The voice sounds angry.")
    silent = ok("sad", "The face is sad.")
    writer = Scripted(answer, silent)
    described = describe(talk, writer)
    new = described.to_rows()[len(talk) :]
    told = [(row["speaker"], row["text"]) for row in new if row["space"] == "description"]
    assert told == [("Anna", "The face is happy."), ("Anna", "The voice sounds angry."), ("Ben", "The face is sad.")]
    kept = [(row["label"], row["text"]) for row in new if row["space"] == "generation"]
    assert kept == [("ok", answer.raw), ("dropped: claim", "The lottery was won."), ("dropped: emotion", "terrified"),
                    ("ok", silent.raw)]  # fmt: skip
    assert [row["label"] for row in new if row["space"] == "open_words"] == ["joyful", "sad"]
    counts = described.meta["files"]["talk.mp4"]["descriptions"]
    assert counts["states"] == {"ok": 2}
    assert counts["dropped"] == {"claim": 1}
    assert (counts["dropped_words"], counts["fallbacks"]) == (1, 0)
    request = writer.asked[0]
    assert request.who == "Anna"
    assert "I am so glad about the flat." in request.messages()[-1]["content"]
    assert "glad" in request.words


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (read_generation(""), "empty"),
        (read_generation("happy " * 40), "looping"),
        (read_generation("The face is happy."), "unparsable"),
        (Generation("", "timeout", error="no answer within 1 s"), "timeout"),
        (Generation("", "failed", error="status 500"), "failed"),
        (ok("sad", "Anna won the lottery."), "nothing left"),
    ],
)
def test_an_unusable_answer_gives_way_to_the_template_by_name(talk: Timeline, answer: Generation, state: str) -> None:
    described = describe(talk, Scripted(answer))
    new = described.to_rows()[len(talk) :]
    plain = describe(talk).to_rows()[len(talk) :]
    assert [r["text"] for r in new if r["space"] == "description"] == [
        r["text"] for r in plain if r["space"] == "description"
    ]
    assert {r["method"] for r in new if r["space"] in ("description", "open_words")} == {"template"}
    raw = [r for r in new if r["space"] == "generation" and not r["label"].startswith("dropped")]
    assert [r["label"] for r in raw] == [state, state]
    assert [r["text"] for r in raw] == [answer.raw or answer.error] * 2
    counts = described.meta["files"]["talk.mp4"]["descriptions"]
    assert counts["fallbacks"] == 2
    assert counts["states"] == {state: 2}


def test_words_of_the_template_keep_its_name(talk: Timeline) -> None:
    described = describe(talk, Scripted(ok("terrified", "The face is happy."), ok("terrified", "The face is sad.")))
    new = described.to_rows()[len(talk) :]
    methods = {row["space"]: row["method"] for row in new}
    assert methods == {"generation": "scripted", "open_words": "template", "description": "scripted"}


def test_nothing_known_is_nothing_told() -> None:
    empty = Timeline.from_rows([], {"files": {}})
    assert len(describe(empty)) == 0
    blank = Timeline.from_rows([{"file": "a", "space": "quality", "start": 0.0, "end": 1.0}], {"files": {"a": {}}})
    assert describe(blank).meta["files"]["a"]["descriptions"]["turns"] == 0

"""Label matching and word extraction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.errors import ConfigError
from affectus.labels import wheels
from affectus.lm.extraction import (
    answer_words,
    extract_many,
    extract_words,
    parse_list,
    rules_digest,
    tally,
    think_words,
)
from affectus.lm.matching import LabelMatcher
from affectus.metrics import wheel_report

DFEW = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
MER2024 = ("worried", "happy", "neutral", "angry", "surprise", "sad")


@pytest.mark.sheet(
    "\"happy and sad\" vs truth sad: contains = hit, strict = miss; empty reply never becomes 'worried'."
)
def test_published_and_strict_matching() -> None:
    assert LabelMatcher(DFEW, mode="contains").match("happy and sad", "sad").label == "sad"
    strict = LabelMatcher(DFEW).match("happy and sad")
    assert (strict.label, strict.status, strict.named) == (None, "ambiguous", ("happy", "sad"))
    assert LabelMatcher(DFEW, mode="first").match("Happy and sad").label == "happy"
    published = LabelMatcher(MER2024, mode="last")
    assert published.match("happy, sad").label == "sad"
    assert published.match("").label == "worried"
    assert LabelMatcher(MER2024).match("").status == "empty"


def test_strict_matching_knows_negation_spelling_and_word_ends() -> None:
    matcher = LabelMatcher.of_space("meld7")
    assert matcher.match("She is not angry, but sad.").label == "sadness"
    assert matcher.match("**JOY**").label == "joy"
    assert matcher.match("not angry").status == "negated"
    assert matcher.match("a saddle").status == "none"
    assert LabelMatcher(("fear surprise", "fear")).match("Fear_Surprise!").label == "fear surprise"
    exact = LabelMatcher(DFEW, mode="exact")
    assert exact.match("sad").label == "sad"
    assert exact.match("Sad").label is None
    labels, counts = matcher.match_many(["joy", "joy or anger", "", "who knows"])
    assert labels == ["joy", None, None, None]
    assert counts == {"matched": 1, "ambiguous": 1, "empty": 1, "none": 1}


def test_matcher_refuses_nonsense() -> None:
    with pytest.raises(ConfigError, match="no such mode"):
        LabelMatcher(DFEW, mode="best")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown label"):
        LabelMatcher(DFEW, {"glad": "joy"})
    with pytest.raises(ConfigError, match="true label"):
        LabelMatcher(DFEW, mode="contains").match("sad")


@given(st.text(max_size=60))
def test_strict_matching_names_a_label_or_a_reason(text: str) -> None:
    found = LabelMatcher(DFEW).match(text)
    assert (found.label is not None) == (found.status == "matched")


@pytest.mark.parametrize(
    ("text", "words", "negated"),
    [
        ("He is not angry but sad.", ("sad",), ("angry",)),
        ("She isn't happy, she is sad.", ("sad",), ("happy",)),
        ("No anger, fear or disgust is visible; he seems content.", ("content",), ("anger", "fear", "disgust")),
        ("Not only angry but frustrated.", ("angry", "frustrated"), ()),
        ("He cannot help but feel happy.", ("happy",), ()),
        ("Neither sad nor angry.", (), ("sad", "angry")),
        ("Anger is not present. He looks joyful.", ("joyful",), ("anger",)),
        ("Relieved rather than worried.", ("relieved",), ("worried",)),
        ("The content of the speech interests nobody.", (), ()),
        ("She feels let down and LET DOWN again.", ("let down",), ()),
        ("Happy, happily, HAPPINESS: always happy.", ("happy",), ()),
        ("Crusaders maddened nobody; nothing else.", (), ()),
        ("It’s obvious he doesn’t feel sad.", (), ("sad",)),
        ("He is not tall. Angry he is.", ("angry",), ()),
    ],
)
def test_words_of_free_text(text: str, words: tuple[str, ...], negated: tuple[str, ...]) -> None:
    found = extract_words(text)
    assert found.words == words
    assert found.negated == negated


def test_answers_lists_and_text() -> None:
    assert answer_words("<think>sad</think><answer>Happy, excited and joyful.</answer>").words == (
        "happy",
        "excited",
        "joyful",
    )
    found = answer_words("The character's emotional state is angry, sad, grumblous.")
    assert (found.words, found.unknown, found.source) == (("angry", "sad", "grumblous"), ("grumblous",), "list")
    assert answer_words("<answer>She is not sad but angry</answer>").words == ("angry",)
    assert answer_words("[]").words == ()
    assert answer_words("").source == "none"
    assert answer_words("- happy\n- sad").words == ("happy", "sad")
    two = answer_words("<answer>happy</answer> <answer>sad</answer>")
    assert (two.words, two.source) == ((), "none")
    assert think_words("<think>He is angry</think><answer>x</answer>") == ("angry",)
    assert think_words("none") == ()
    counts = tally([found, two, answer_words("")])
    assert (counts["list"], counts["none"], counts["unknown"]) == (1, 2, 1)
    assert len(rules_digest()) == 64


@pytest.mark.sheet("answer words = split on commas, lower-case, trim, drop empty, keep first occurrences")
def test_lists_in_published_and_tolerant_form() -> None:
    assert parse_list(" Happy,, SAD ,happy", strict_commas=True) == ["happy", "sad"]
    assert parse_list("happy and sad.", strict_commas=True) == ["happy and sad."]
    assert parse_list("happy and sad; Let down.") == ["happy", "sad", "let down"]


def test_extraction_feeds_the_wheel_metrics() -> None:
    answers = ["He sounds angry, not sad.", "<answer>happy, calm</answer>", ""]
    report = wheel_report([["angry"], ["happy"], ["sad"]], extract_many(answers))
    assert report.recall == pytest.approx(2 / 3)
    assert report.predicted_words == 1.0


@given(st.lists(st.sampled_from(sorted(wheels.load().forms)), min_size=1, max_size=5, unique=True))
def test_listed_words_come_back(words: list[str]) -> None:
    assert list(answer_words(", ".join(words)).words) == words


@given(st.text(max_size=80))
def test_extraction_never_raises_and_finds_what_stands_there(text: str) -> None:
    found = extract_words(text)
    assert not set(found.words) & set(found.negated)
    assert all(word.split()[0] in text.lower().replace("’", "'") for word in found.words)

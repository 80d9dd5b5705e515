from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.errors import ConfigError
from affectus.lm.completions import inspect, states, texts_of
from affectus.lm.tags import Grammar, parse_choice, parse_json, parse_number

THINK = Grammar.parse("think answer")
FIELDS = Grammar.parse("think(element human context) answer confidence")


def test_the_exact_form_needs_no_repair() -> None:
    found = THINK.parse_text("<think>He smiles.\nA lot.</think>\n <answer> happy </answer>")
    assert found.exact
    assert found.repairs == ()
    assert dict(found.fields) == {"think": "He smiles.\nA lot.", "answer": "happy"}
    assert THINK.describe() == "<think>...</think><answer>...</answer>"


@pytest.mark.sheet(
    "Format reward: 1 for the exact template incl. newlines, 0 for missing close tag, text after, two blocks"
)
@pytest.mark.parametrize(
    "text",
    [
        "<think>a</think><answer>b",
        "<think>a</think><answer>b</answer> and more",
        "<think>a</think><answer>b</answer><answer>c</answer>",
        "<answer>b</answer><think>a</think>",
        "<think>a</think>",
        "<think>a<answer>x</answer></think><answer>b</answer>",
        "",
    ],
)
def test_what_is_not_the_form(text: str) -> None:
    assert not THINK.matches(text)


@pytest.mark.parametrize(
    ("text", "answer", "repair"),
    [
        ("<think>a</think><answer>b", "b", "closing </answer> put at the end"),
        ("<think>a<answer>b</answer>", "b", "closing </think> put before the next tag"),
        ("a</think><answer>b</answer>", "b", "opening <think> put at the start"),
        ("<THINK>a</Think>< answer >b</ answer>", "b", "spelling of <THINK>"),
        ("Sure! <think>a</think><answer>b</answer> Bye", "b", "text outside the blocks dropped"),
        ("<think>a</think><answer>b</answer><answer> b </answer>", "b", "repeated <answer> with the same content"),
    ],
)
def test_repairs_with_one_reading(text: str, answer: str, repair: str) -> None:
    found = THINK.parse_text(text)
    assert found.ok
    assert not found.exact
    assert found["answer"] == answer
    assert repair in found.repairs


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "empty"),
        ("just words", "no <think>"),
        ("<think>a</think>", "no <answer>"),
        ("<think>a</think><answer></answer>", "<answer> is empty"),
        ("<think>a</think><answer>b</answer><answer>c</answer>", "several times"),
        ("<answer>b</answer><think>a</think>", "overlaps|before"),
        ("<think>a</think></answer>b<answer>", "stands before"),
    ],
)
def test_nothing_is_guessed(text: str, error: str) -> None:
    found = THINK.parse_text(text)
    assert not found.ok
    assert dict(found.fields) == {}
    import re

    assert re.search(error, found.error)


def test_optional_and_nested_blocks() -> None:
    loose = Grammar.parse("think? answer")
    assert loose.matches("<answer>b</answer>")
    assert "think" not in loose.parse_text("<answer>b</answer>").fields
    text = (
        "<think><element>hat</element><human>none</human><context>park</context></think>"
        "<answer>awe</answer><confidence>0.8</confidence>"
    )
    found = FIELDS.parse_text(text)
    assert found.exact
    assert found["think.human"] == "none"
    assert FIELDS.parse_text(text.replace("<human>none</human>", "")).error == "there is no <human>"
    with pytest.raises(ConfigError):
        Grammar.parse("think( answer")
    with pytest.raises(ConfigError):
        Grammar.parse("")


@given(st.text(alphabet="ab <>/thinkanswer\n", max_size=60))
def test_parsing_never_raises_and_exact_means_unrepaired(text: str) -> None:
    found = THINK.parse_text(text)
    assert found.ok == bool(found.fields)
    assert not (found.exact and found.repairs)


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        ('{"a": 1}', None),
        ('Here:\n```json\n{"a": 1}\n```', "code fence removed"),
        ('so {"a": 1,} there', "trailing commas removed"),
        ("{'a': 1}", "Python spelling read as JSON"),
        ('{"a": 1} again {"a": 1}', "text around the JSON dropped"),
    ],
)
def test_json_repairs(text: str, repair: str | None) -> None:
    found = parse_json(text, ["a"])
    assert found["a"] == 1
    assert found.exact == (repair is None)
    assert repair is None or repair in found.repairs


@pytest.mark.parametrize(
    "text", ["", "none", '{"a": 1} or {"a": 2}', '{"b": 1}', '{"a": 1', "[1]", '{"a": "x"}', '{"a": true}']
)
def test_json_refusals(text: str) -> None:
    assert not parse_json(text, ["a"], {"a": int}).ok


@pytest.mark.sheet('Parser: "8", "8.5", "\'score\': 7; reason ..." -> 8, 8.5, 7; "n/a" -> failure.')
def test_numbers_of_judges() -> None:
    for text, value in [
        ("8", 8),
        ("8.5", 8.5),
        ("'score': 7; reason: 2 clues", 7),
        ("score: 6/10", 6),
        ("7 out of 10", 7),
    ]:
        assert parse_number(text, 0, 10)["value"] == value
    for text in ["n/a", "", "between 3 and 5", "score: 12"]:
        assert not parse_number(text, 0, 10).ok
    assert parse_number("3 or 4", published=True)["value"] == 3
    assert not parse_number("n/a", published=True).ok


def test_choices() -> None:
    assert parse_choice("A1.", ("a1", "a2", "same"))["value"] == "a1"
    assert parse_choice("I prefer a2 here", ("a1", "a2", "same"))["value"] == "a2"
    assert parse_choice("a1", ("a1", "a2")).exact
    assert not parse_choice("a1 or a2", ("a1", "a2")).ok
    assert not parse_choice("neither", ("a1", "a2")).ok
    assert not parse_choice("", ("a1", "a2")).ok


def test_states_of_generations() -> None:
    assert inspect("He is happy and happy again.").state == "ok"
    assert inspect("  ").state == "empty"
    assert inspect(None).state == "empty"
    looping = inspect("He says that " + "he is sad, " * 6)
    assert (looping.state, looping.repeats) == ("looping", "he is sad ,")
    assert inspect("happy " * 5).state == "ok"
    assert inspect("happy " * 9).state == "looping"
    assert states(["", "fine", "no " * 20]) == {"empty": 1, "ok": 1, "looping": 1}
    assert texts_of(["a", [{"role": "assistant", "content": "b"}], []]) == ["a", "b", ""]

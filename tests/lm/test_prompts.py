from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.errors import ConfigError
from affectus.lm.prompts import Prompt, list_prompts, load_prompt, parse_prompt

FRONT = "---\nversion: 3\ntitle: A title\n---\n"

#: Name, version and first 12 hex digits of the body of every packaged prompt, one line each: a new prompt adds a
#: line, a changed one gets a new version and a new line.
SNAPSHOT = {
    name: (version, digest)
    for name, version, digest in (
        line.split() for line in Path(__file__).with_name("prompt_digests.txt").read_text(encoding="utf-8").splitlines()
    )
}


def test_every_packaged_prompt_is_the_one_of_its_version() -> None:
    found = {name: (load_prompt(name).version, load_prompt(name).digest[:12]) for name in list_prompts()}
    assert found == SNAPSHOT


def test_roles_placeholders_and_record() -> None:
    prompt = parse_prompt(FRONT + '@system\nYou see {thing}.\n@user\nWhat is {thing}? {"json": 1}\n', "x/y")
    assert prompt.messages(thing="a face") == [
        {"role": "system", "content": "You see a face."},
        {"role": "user", "content": 'What is a face? {"json": 1}'},
    ]
    assert prompt.record() == {"name": "x/y", "version": "3", "sha256": prompt.digest}
    assert prompt.required == {"thing"}


def test_optional_parts_follow_what_is_given() -> None:
    prompt = parse_prompt(FRONT + "{#audio}Hear {audio}.{/audio}{^audio}No audio.{/audio} Say {word}.", "p")
    assert prompt.messages(audio="<A>", word="it")[0]["content"] == "Hear <A>. Say it."
    assert prompt.messages(word="it")[0]["content"] == "No audio. Say it."
    assert prompt.messages(audio="", word="it")[0]["content"] == "No audio. Say it."
    assert prompt.messages(audio=None, word="it")[0]["content"] == "No audio. Say it."
    assert prompt.required == {"word"}


def test_nested_parts_and_defaults() -> None:
    prompt = parse_prompt("---\nversion: 1\ndefaults: {low: 0}\n---\n{#a}A{#b}B{/b}{^b}-{/b}{/a} from {low}", "p")
    assert prompt.messages(a="1", b="1")[0]["content"] == "AB from 0"
    assert prompt.messages(a="1", low=5)[0]["content"] == "A- from 5"


def test_values_are_not_read_as_placeholders() -> None:
    prompt = parse_prompt(FRONT + "{text}", "p")
    assert prompt.messages(text="{other} {#x}")[0]["content"] == "{other} {#x}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no front matter", "front matter"),
        ("---\ntitle: x\n---\nbody", "version"),
        ("---\nversion: 1\nwho: me\n---\nbody", "unknown entries: who"),
        (FRONT, "empty"),
        (FRONT + "{#a}open", "counterpart"),
        (FRONT + "text\n@user\nmore", "before its first role"),
        ("---\nversion: [1\n---\nbody", "no YAML"),
    ],
)
def test_malformed_files_are_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_prompt(text, "bad")


def test_missing_and_unknown_values_are_errors() -> None:
    prompt = parse_prompt(FRONT + "{a} and {b}", "p")
    with pytest.raises(ConfigError, match="lacks a value for b"):
        prompt.messages(a="1")
    with pytest.raises(ConfigError, match="does not use c"):
        prompt.messages(a="1", b="2", c="3")
    with pytest.raises(ConfigError, match="no such prompt"):
        load_prompt("words/nothing")


def test_own_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "ask.txt").write_text(FRONT + "Hi {name}\r\n", encoding="utf-8")
    assert list_prompts(tmp_path) == ["mine/ask"]
    assert load_prompt("mine/ask", tmp_path).messages(name="you")[0]["content"] == "Hi you"


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=40))
def test_a_value_stands_in_the_prompt_as_it_is(value: str) -> None:
    prompt = Prompt("p", "1", "<{x}>")
    assert prompt.messages(x=value)[0]["content"] == f"<{value}>"

"""Names in front of what is said."""

from __future__ import annotations

import pytest

from affectus.media.speakers import split_speaker, usual_speakers


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["Ann: hello", "Ben: hi", "Ann: bye"], {"Ann", "Ben"}),
        (["ANN: hello", "Ben: hi", "", "Cy: no", "who is it"], {"ANN", "Ben", "Cy"}),
        (["Monday: gym", "Tuesday: run", "Sunday: rest"], set()),  # a list, nobody speaks twice
        (["Ann: hello", "It was late.", "Ann: bye", "Result: none", "They left."], {"Ann"}),
        (["so it is: nothing", "plain words"], set()),
        ([], set()),
    ],
)
def test_names_are_believed_when_they_come_again_or_all_lines_have_one(lines: list[str], names: set[str]) -> None:
    assert usual_speakers(lines) == names


def test_only_believed_names_are_split_off() -> None:
    assert split_speaker("Ben: oh no", frozenset({"Ben"})) == ("Ben", "oh no")
    assert split_speaker("Result: none", frozenset({"Ben"})) == ("", "Result: none")

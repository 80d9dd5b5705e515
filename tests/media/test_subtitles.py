"""SubRip and WebVTT, well-formed and otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus import media
from affectus.errors import MediaError
from affectus.media.subtitles import parse_clock, parse_subtitles
from affectus.types import Turn


def parse(text: str, warnings: list[str] | None = None) -> list[tuple[float, float, str, str]]:
    return [(t.start, t.end, t.speaker, t.text) for t in parse_subtitles(text, "a.srt", warnings)]


def clock(seconds: float, mark: str = ",") -> str:
    total = round(seconds * 1000)
    return f"{total // 3600000:02}:{total // 60000 % 60:02}:{total // 1000 % 60:02}{mark}{total % 1000:03}"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:00:01,500", 1.5),
        ("01:02:03.250", 3723.25),
        ("02:03.5", 123.5),
        ("123.5", 123.5),
        ("100:00:00", 360000),
        (" 7 ", 7),
    ],
)
def test_clock(text: str, seconds: float) -> None:
    assert parse_clock(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "a", "1:2:3:4", "-1", "00:75", "1e3", "nan", "00:00:01;5"])
def test_no_clock(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|seconds"):
        parse_clock(text)


def test_subrip() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,500\nHello\nthere\n\n2\n00:00:03.000 --> 00:00:04.000 X1:5 Y1:6\nBye <3\n"
    assert parse(text) == [(1, 2.5, "", "Hello there"), (3, 4, "", "Bye <3")]


def test_webvtt() -> None:
    text = (
        "WEBVTT - title\nKind: captions\n\nNOTE a remark\nover two lines\n\nSTYLE\n::cue { color: red }\n\n"
        "intro\n00:01.000 --> 00:02.500 align:start position:0%\n<v.loud Anna Lee>Hello <b>you</b>\n\n"
        "01:00:03.000 --> 01:00:04.000\n<v Bob>Hi</v> <v Eve>&amp; hey &lt;3</v>\n- and <c.red>more</c>\n"
    )
    assert parse(text) == [
        (1, 2.5, "Anna Lee", "Hello you"),
        (3603, 3604, "Bob", "Hi"),
        (3603, 3604, "Eve", "& hey <3 - and more"),
    ]


def test_tags_are_removed_and_other_brackets_kept() -> None:
    text = '1\n00:00:01,000 --> 00:00:02,000\n{\\an8}<font size="2">a</font> <i>b</i> 1 < 2 > 0 <tear> ♪<br/>c\n'
    assert parse(text)[0][3] == "a b 1 < 2 > 0 <tear> ♪ c"


def test_speakers_in_capitals() -> None:
    text = (
        "1\n00:00:01,000 --> 00:00:02,000\nANNA: Hi\nyou\nDR. X 2: Ho\n\n2\n00:00:03,000 --> 00:00:04,000\nNote: this\n"
    )
    found = parse(text)
    assert found[0] == (1, 2, "ANNA", "Hi you")
    assert found[-1] == (3, 4, "", "Note: this")


def test_names_in_small_letters_must_return() -> None:
    cue = "{0}\n00:00:0{0},000 --> 00:00:0{0},900\n{1}\n\n"
    once = "".join(cue.format(i, t) for i, t in enumerate(["Anna: Hi", "Time: now", "well"]))
    assert {speaker for _, _, speaker, _ in parse(once)} == {""}
    twice = "".join(
        cue.format(i, t)
        for i, t in enumerate(["Anna: Hi", "- Anna: Ho", ">> Zoë: ha", "小明：你好", "小明：好", "Zoë: x"])
    )
    assert [(s, t) for _, _, s, t in parse(twice)] == [
        ("Anna", "Hi"), ("Anna", "Ho"), ("Zoë", "ha"), ("小明", "你好"), ("小明", "好"), ("Zoë", "x"),
    ]  # fmt: skip


def test_unordered_and_overlapping_cues_are_sorted() -> None:
    text = (
        "1\n00:00:05,000 --> 00:00:06,000\nlast\n\n2\n00:00:01,000 --> 00:00:09,000\nlong\n\n"
        "3\n00:00:01,000 --> 00:00:02,000\nfirst\n"
    )
    assert [t for *_, t in parse(text)] == ["first", "long", "last"]
    assert [t.row for t in parse_subtitles(text, "a.srt")] == [2, 1, 0]


def test_cues_without_blank_lines_between() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\none\n2\n00:00:03,000 --> 00:00:04,000\ntwo\n"
    assert [t for *_, t in parse(text)] == ["one", "two"]


def test_number_as_text_is_kept() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\n42\n\n2\n00:00:03,000 --> 00:00:04,000\n3\n2\n1\n"
    assert [t for *_, t in parse(text)] == ["42", "3 2 1"]


@pytest.mark.parametrize(
    ("bad", "remark"),
    [
        ("00:00:0x,000 --> 00:00:02,000", "line 6: '00:00:0x,000' is not a time"),
        ("00:00:09,000 --> 00:00:02,000", "line 6: the end lies before the start"),
        ("00:00:09,000 -->", "line 6: there is no time on both sides"),
        ("00:00:99,000 --> 00:02:02,000", "line 6: '00:00:99,000' has more than 59"),
    ],
)
def test_bad_block_is_left_out_with_its_line(bad: str, remark: str) -> None:
    notes: list[str] = []
    text = (
        f"1\n00:00:01,000 --> 00:00:02,000\ngood\n\n2\n{bad}\nlost\nwords\n\n3\n00:00:03,000 --> 00:00:04,000\nfine\n"
    )
    assert [t for *_, t in parse(text, notes)] == ["good", "fine"]
    assert len(notes) == 1
    assert notes[0].startswith(remark)


def test_text_without_a_time_is_noted() -> None:
    notes: list[str] = []
    text = "1\n00:00:01,000 --> 00:00:02,000\ngood\n\nstray words\nmore\n\n3\n00:00:03,000 --> 00:00:04,000\nfine\n"
    assert [t for *_, t in parse(text, notes)] == ["good", "fine"]
    assert notes == ["line 5: text without a time was left out"]


def test_only_bad_blocks_are_an_error_naming_the_line() -> None:
    with pytest.raises(MediaError, match=r"a\.srt: holds no subtitle with a time \(line 2: 'x' is not a time"):
        parse("1\nx --> y\nlost\n")
    with pytest.raises(MediaError, match="no subtitle with a time"):
        parse("WEBVTT\n\n")


def test_empty_cues_are_dropped() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\n<i></i>\n\n00:03.0 --> 00:04.0\n\n00:00:05,000 --> 00:00:06,000\nx\n"
    assert [t for *_, t in parse(text)] == ["x"]


def test_rolling_captions_are_not_doubled() -> None:
    text = (
        "WEBVTT\n\n00:00.000 --> 00:02.000\nhello<00:00:01.000><c> there</c>\n\n"
        "00:02.000 --> 00:02.010\nhello there\n\n"
        "00:02.010 --> 00:04.000\nhello there\nhow<00:00:03.000><c> are you</c>\n\n"
        "00:04.000 --> 00:04.010\nhow are you\n"
    )
    assert [t for *_, t in parse(text)] == ["hello there", "how are you"]


def test_files_in_any_encoding(tmp_path: Path) -> None:
    text = "1\r\n00:00:01,000 --> 00:00:02,000\r\nGrüße aus Köln 你\r\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = tmp_path / f"{encoding}.srt"
        path.write_bytes(text.encode(encoding))
        assert media.read_turns(path) == [Turn("Grüße aus Köln 你", 1, 2, row=0)]
    path = tmp_path / "old.srt"
    path.write_bytes(text.replace("你", "").encode("cp1252"))
    notes: list[str] = []
    assert media.read_turns(path, notes) == [Turn("Grüße aus Köln", 1, 2, row=0)]
    assert "cp1252" in notes[0]


WORDS = st.text(st.sampled_from("abz AÖ12,.!?'-é日本🙂"), min_size=1, max_size=30).map(lambda s: " ".join(s.split()))
CUES = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**5), WORDS.filter(bool)), min_size=1, max_size=12)


@given(CUES, st.sampled_from([",", "."]), st.booleans())
def test_round_trip(cues: list[tuple[int, int, str]], mark: str, vtt: bool) -> None:
    blocks = [
        f"{number}\n{clock(start / 1000, mark)} --> {clock((start + length) / 1000, mark)}\n{words}\n"
        for number, (start, length, words) in enumerate(cues, start=1)
    ]
    notes: list[str] = []
    turns = parse_subtitles(("WEBVTT\n\n" if vtt else "") + "\n".join(blocks), "a.srt", notes)
    assert not notes
    assert [t.start for t in turns] == sorted(t.start for t in turns)
    back = {t.row: (round(t.start * 1000), round((t.end - t.start) * 1000), t.text) for t in turns}
    assert back == dict(enumerate(cues))


@given(st.text(st.sampled_from("1:0,.->\n <v>aA"), max_size=200))
def test_any_text_gives_turns_or_one_error(text: str) -> None:
    try:
        turns, refusal = parse_subtitles(text, "a.srt"), ""
    except MediaError as error:
        turns, refusal = [], str(error)
    assert bool(turns) != bool(refusal)
    assert "\n" not in refusal
    assert all(0 <= t.start <= t.end and t.text for t in turns)

"""Plain text, Markdown and tables: encodings, sentences, columns."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus import media
from affectus.errors import MediaError
from affectus.media.encodings import decode_text, looks_like_text
from affectus.media.text import MAX_CHARACTERS, split_sentences
from affectus.types import Turn


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def texts(turns: list[Turn]) -> list[str]:
    return [turn.text for turn in turns]


# --- encodings ---------------------------------------------------------------------------------------------------

SAMPLES = {
    "utf-8": "Grüße, ça va? 今日は 🙂",
    "utf-8-sig": "Grüße, ça va? 今日は 🙂",
    "utf-16": "Grüße, ça va? 今日は 🙂",
    "utf-32": "Grüße, ça va? 今日は 🙂",
    "utf-16-le": "Hello there, how are you today?\r\nFine.",
    "utf-16-be": "Hello there, how are you today?\r\nFine.",
    "cp1252": "Ça été une journée très agréable – “oui”, je suis content. Grüße, Zoë. 5 €",
    "cp932": "今日はとても嬉しいです。テストに合格しました！",
    "gb18030": "今天天气很好，我们都很高兴。你觉得怎么样？",
    "euc_jp": "今日はとても嬉しいです。テストに合格しました！",
}


@pytest.mark.parametrize("encoding", SAMPLES)
def test_encodings(encoding: str) -> None:
    wanted = SAMPLES[encoding].replace("\r\n", "\n")
    notes: list[str] = []
    data = SAMPLES[encoding].encode(encoding)
    assert decode_text(data, "a.txt", warnings=notes) == wanted
    assert looks_like_text(data)
    assert bool(notes) == (encoding in ("cp1252", "cp932", "gb18030", "euc_jp"))


@given(st.text(st.characters(blacklist_characters="\0\r\ufeff", blacklist_categories=["Cs"])))
def test_utf8_is_always_exact(text: str) -> None:
    assert decode_text(text.encode(), "a.txt") == text


@given(st.text(st.sampled_from("abc deé ñ日本語🙂\n"), min_size=1))
def test_a_beginning_of_utf8_decodes(text: str) -> None:
    data = text.encode()
    for end in range(1, len(data) + 1):
        assert text.startswith(decode_text(data[:end], "a.txt", cut=True))


def test_one_broken_byte_does_not_spoil_utf8() -> None:
    notes: list[str] = []
    text = decode_text("schöne grüße ".encode() * 10 + b"\xff!", "a.txt", warnings=notes)
    assert text == "schöne grüße " * 10 + "\ufffd!"
    assert "not valid UTF-8" in notes[0]


def test_lines_in_two_encodings_are_each_read_in_their_own() -> None:
    notes: list[str] = []
    lines = ["Zoë: café", "plain", "José: so sad", "Zoë: oh là là"]
    data = b"\r\n".join(line.encode("cp1252" if "José" in line else "utf-8") for line in lines)
    assert decode_text(data, "a.txt", warnings=notes).split("\n") == lines
    assert notes == ["one line is not valid UTF-8 like the others; read as cp1252"]
    two = "今天真的太开心了，谢谢你。".encode("gb18030") + b"\n"
    assert decode_text("我很难过\n".encode() * 2 + two * 2, "a.txt").split("\n")[2] == "今天真的太开心了，谢谢你。"


def test_a_damaged_line_among_good_ones_stays_utf8() -> None:
    whole = "schöne grüße überall\n".encode()
    data = whole * 3 + whole.replace(b"\xc3\xbc", b"\xff", 1).replace(b" ", "öäü".encode() * 5)
    assert decode_text(data, "a.txt").count("\ufffd") == 1


def test_nul_bytes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="NUL bytes"):
        decode_text(b"some text\0\0\0 and more text", "a.txt")
    with pytest.raises(MediaError, match=r"a\.txt: holds binary data"):
        media.read_turns(write(tmp_path / "a.txt", b"some text \0\0 and more"))
    late = write(tmp_path / "b.txt", b"some text. " * 2000 + b"\0\0")
    with pytest.raises(MediaError, match="NUL bytes"):
        media.read_turns(late)


def test_broken_utf16_is_an_error() -> None:
    with pytest.raises(MediaError, match="not valid UTF-16"):
        decode_text(b"\xff\xfea\0b", "a.txt")


def test_line_ends() -> None:
    assert decode_text(b"a\r\nb\rc\n", "a.txt") == "a\nb\nc\n"


# --- sentences ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I am glad. Are you? Yes!", ["I am glad.", "Are you?", "Yes!"]),
        (
            "Dr. Smith met Mrs. Jones at 3.5 p.m. yesterday. Good.",
            ["Dr. Smith met Mrs. Jones at 3.5 p.m. yesterday.", "Good."],
        ),
        ("J. K. Rowling wrote it. I read it.", ["J. K. Rowling wrote it.", "I read it."]),
        ("The U.S. team won e.g. gold. Wow", ["The U.S. team won e.g. gold.", "Wow"]),
        ("i like it. it is good", ["i like it.", "it is good"]),
        ("Well... maybe. Really?! Yes", ["Well... maybe.", "Really?!", "Yes"]),
        ('"Stop!" he said. "Why?" She left.', ['"Stop!" he said.', '"Why?"', "She left."]),
        ("1. First point. 2. Second", ["1. First point.", "2. Second"]),
        ("It was 1984. Then came 1985.", ["It was 1984.", "Then came 1985."]),
        ("Das ist z.B. gut. Ja, bzw. nein.", ["Das ist z.B. gut.", "Ja, bzw. nein."]),
        ("It was I. He left.", ["It was I.", "He left."]),
        ("¿Qué tal? ¡Muy bien!", ["¿Qué tal?", "¡Muy bien!"]),
        ("今天很开心！真的吗？是的。", ["今天很开心！", "真的吗？", "是的。"]),
        ("「本当？」と言った。うれしい！", ["「本当？」", "と言った。", "うれしい！"]),
        ("مرحبا كيف حالك؟ أنا بخير. شكرا", ["مرحبا كيف حالك؟", "أنا بخير.", "شكرا"]),
        ("שלום. מה שלומך?", ["שלום.", "מה שלומך?"]),
        ("मैं खुश हूँ। तुम कैसे हो?", ["मैं खुश हूँ।", "तुम कैसे हो?"]),
        ("So happy 😀🎉! Me too 👍🏽. ❤️", ["So happy 😀🎉!", "Me too 👍🏽.", "❤️"]),
        ("no mark at all", ["no mark at all"]),
        ("see www.example.org/a.b?c=d now", ["see www.example.org/a.b?c=d now"]),
        ("...", ["..."]),
        ("  \n\t\n ", []),
        ("", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@given(st.text(), st.integers(8, 60))
def test_nothing_is_lost_and_nothing_too_long(text: str, limit: int) -> None:
    pieces = split_sentences(text, limit)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(0 < len(piece) <= limit and piece == piece.strip() for piece in pieces)


@given(
    st.lists(
        st.sampled_from(["Hi.", "Dr. Who", "你好！", "👩‍👩‍👧‍👦", "so, well", "e\u0301" * 9, "…", '"ok."', "3.5"]),
        max_size=60,
    )
)
def test_nothing_is_lost_in_plausible_text(words: list[str]) -> None:
    text = " ".join(words)
    assert "".join(split_sentences(text, 20)).replace(" ", "") == text.replace(" ", "")


def test_long_sentence_is_cut_at_clauses_then_spaces() -> None:
    assert split_sentences("one two three four, five six seven", 24) == ["one two three four,", "five six seven"]
    assert split_sentences("one two three four five six seven", 20) == ["one two three four", "five six seven"]


def test_family_emoji_and_accents_stay_whole() -> None:
    family = "👩‍👩‍👧‍👦"
    assert all(piece.count(family) * len(family) == len(piece) for piece in split_sentences(family * 20, 24))
    assert all(not piece.startswith("\u0301") for piece in split_sentences("e\u0301" * 50, 9))


def test_limit_must_leave_room() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        split_sentences("text", 3)


@pytest.mark.parametrize("unit", ["word ", "a", "字", "One two. ", "a. ", ".", "\u0301", "( ", "😀", "x,"])
def test_one_megabyte_line_is_split_into_bounded_pieces(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    pieces = split_sentences(text)  # hangs for many minutes if it is not linear
    assert max(map(len, pieces)) <= MAX_CHARACTERS
    assert sum(len(piece.replace(" ", "")) for piece in pieces) == len(text.replace(" ", ""))


# --- plain text and Markdown -------------------------------------------------------------------------------------


def test_plain_text(tmp_path: Path) -> None:
    turns = media.read_turns(write(tmp_path / "a.txt", "I am glad. Are you?\n\n\n   \nYes 😀\nمرحبا؟ نعم."))
    assert [(t.text, t.row) for t in turns] == [
        ("I am glad.", 0),
        ("Are you?", 0),
        ("Yes 😀", 4),
        ("مرحبا؟", 5),
        ("نعم.", 5),
    ]
    assert all(math.isnan(t.start) and math.isnan(t.end) and t.speaker == "" for t in turns)


def test_hard_wrapped_prose_is_joined(tmp_path: Path) -> None:
    turns = media.read_turns(
        write(
            tmp_path / "a.txt",
            "This sentence is longer than the line is wide, so it\nruns on here. Short\nlines stay apart",
        )
    )
    assert texts(turns) == [
        "This sentence is longer than the line is wide, so it runs on here.",
        "Short",
        "lines stay apart",
    ]


def test_speakers_of_a_transcript(tmp_path: Path) -> None:
    turns = media.read_turns(write(tmp_path / "a.txt", "Anna: Hi. How are you?\nBOB: Fine\nAnna: Great\n(laughs)\n"))
    assert [(t.speaker, t.text) for t in turns] == [
        ("Anna", "Hi."), ("Anna", "How are you?"), ("BOB", "Fine"), ("Anna", "Great"), ("", "(laughs)"),
    ]  # fmt: skip


def test_colons_in_prose_are_no_speakers(tmp_path: Path) -> None:
    content = "Dear all: hello.\nWhat I like: cake.\nIt is 10:30 now.\nSee http://a.b\nThe end: now\nDone"
    assert all(t.speaker == "" for t in media.read_turns(write(tmp_path / "a.txt", content)))


def test_markdown(tmp_path: Path) -> None:
    content = (
        "---\ntitle: x\n---\n# Great *day*\n\n- **so** happy, [really](http://a.b)\n2) next\n> quoted `word`\n\n"
        "```python\ncode = 1\n```\n![alt](b.png)\n<!-- hidden -->\n* * *\nsnake_case stays, 2 * 3 * 4 too\n"
    )
    assert texts(media.read_turns(write(tmp_path / "a.md", content))) == [
        "Great day",
        "so happy, really",
        "next",
        "quoted word",
        "snake_case stays, 2 * 3 * 4 too",
    ]


def test_only_white_space_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"a\.txt: holds no text"):
        media.read_turns(write(tmp_path / "a.txt", " \n\t\n"))


def test_recording_is_no_text(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(MediaError, match="is a picture, not text"):
        media.read_turns(tmp_path / "a.png")


# --- tables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["text", "Utterance", "SENTENCE", "message", "content", " Text "])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_text_column_and_delimiter(tmp_path: Path, name: str, delimiter: str) -> None:
    content = (
        f'id{delimiter}{name}{delimiter}n\n1{delimiter}"Hi; there, you|all"{delimiter}5\n2{delimiter}Bye{delimiter}6\n'
    )
    turns = media.read_turns(write(tmp_path / "a.csv", content))
    assert [(t.text, t.row) for t in turns] == [("Hi; there, you|all", 0), ("Bye", 1)]


def test_all_columns(tmp_path: Path) -> None:
    content = (
        "Sr No.,Utterance,Speaker,StartTime,EndTime,Dialogue_ID,lang\n"
        '1,"Hello, you",Joey,"00:16:16,059","00:16:21,731",7,en\n'
        "2,,Ross,1,2,7,en\n"
        "3,Bye,Ross,12.5,13,8,en\n"
    )
    path = write(tmp_path / "a.csv", content)
    turns = media.read_turns(path)
    assert turns[0] == Turn("Hello, you", 976.059, 981.731, "Joey", "en", 0)
    assert turns[1] == Turn("Bye", 12.5, 13.0, "Ross", "en", 2)
    talks = media.read_conversations(path)
    assert [(c.id, len(c.turns)) for c in talks] == [("7", 1), ("8", 1)]


def test_times_in_milliseconds_and_unknown_times(tmp_path: Path) -> None:
    notes: list[str] = []
    path = write(tmp_path / "a.csv", "text,start_ms,end\nHi,1500,soon\n")
    (turn,) = media.read_turns(path, warnings=notes)
    assert turn.start == 1.5
    assert math.isnan(turn.end)
    assert notes == ["row 0: end 'soon' is no time in seconds and counts as unknown"]


def test_text_has_priority_over_look_alikes(tmp_path: Path) -> None:
    turns = media.read_turns(write(tmp_path / "a.csv", "comment,text\nno,yes\n"))
    assert texts(turns) == ["yes"]


def test_one_column_needs_no_header(tmp_path: Path) -> None:
    assert texts(media.read_turns(write(tmp_path / "a.csv", "I am glad\nSo am I\n"))) == ["I am glad", "So am I"]


def test_cells_with_line_breaks_and_quotes(tmp_path: Path) -> None:
    turns = media.read_turns(write(tmp_path / "a.csv", 'text,id\n"one\ntwo ""three""",1\n'))
    assert texts(turns) == ['one two "three"']


def test_no_text_column_names_the_columns(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"no column of texts among: id, score .*--columns text=NAME"):
        media.read_turns(write(tmp_path / "a.csv", "id,score\n1,2\n"))


def test_table_without_any_text(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no row holds any text"):
        media.read_turns(write(tmp_path / "a.csv", "text,id\n,1\n"))


def test_long_and_huge_cells_keep_their_row(tmp_path: Path) -> None:
    turns = media.read_turns(write(tmp_path / "a.csv", "text,id\nshort. two.,1\n" + "word " * 200_000 + ",2\n"))
    assert turns[0].text == "short. two."
    assert {t.row for t in turns[1:]} == {1}
    assert max(len(t.text) for t in turns) <= MAX_CHARACTERS
    assert sum(len(t.text.split()) for t in turns[1:]) == 200_000


def test_semicolon_table_in_windows_encoding(tmp_path: Path) -> None:
    notes: list[str] = []
    path = write(tmp_path / "a.csv", "Sprecher;Text\nJörg;Schöne Grüße\n".encode("cp1252"))
    assert texts(media.read_turns(path, warnings=notes)) == ["Schöne Grüße"]
    assert any("cp1252" in n for n in notes)


def test_json_lines(tmp_path: Path) -> None:
    rows = [{"text": "Hi 😀", "author": "A", "time": 3}, {"text": ""}, "just words", {"text": None}, {"Content": 5}]
    path = write(tmp_path / "a.jsonl", "\n\n".join(json.dumps(r) for r in rows))
    assert [(t.text, t.row, t.speaker) for t in media.read_turns(path)] == [
        ("Hi 😀", 0, "A"),
        ("just words", 2, ""),
        ("5", 4, ""),
    ]


def test_malformed_json_names_its_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "a"}\n\n{"text": "b"}\n{"text": oops}\n')
    with pytest.raises(MediaError, match=r"a\.jsonl: row 2 \(line 4\) is not valid JSON"):
        media.read_turns(path)


@pytest.mark.parametrize("row", ["[1, 2]", "17", "null", '{"text": ["a"]}', '{"score": 1}', "[" * 100_000])
def test_rows_that_are_no_texts_are_named(tmp_path: Path, row: str) -> None:
    with pytest.raises(MediaError, match="row 1"):
        media.read_turns(write(tmp_path / "a.jsonl", f'{{"text": "a"}}\n{row}\n'))


def test_json_array_and_object(tmp_path: Path) -> None:
    array = write(tmp_path / "a.json", json.dumps([{"text": "a"}, {"text": "b"}], indent=2))
    assert texts(media.read_turns(array)) == ["a", "b"]
    single = write(tmp_path / "b.json", json.dumps({"text": "c"}, indent=2))
    assert texts(media.read_turns(single)) == ["c"]
    with pytest.raises(MediaError, match="not valid JSON"):
        media.read_turns(write(tmp_path / "c.json", '[{"text": "a"},'))


def test_chats_in_json_lines(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
        {"dialogue_id": "x", "turns": ["one", "two", "three"]},
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(json.dumps(r) for r in rows))
    talks = media.read_conversations(path)
    assert [(c.id, texts(list(c.turns))) for c in talks] == [("0", ["Hi", "Hello"]), ("x", ["one", "two", "three"])]
    assert talks[0].speakers == ("user", "assistant")


def test_conversation_of_a_text_is_the_file(tmp_path: Path) -> None:
    (talk,) = media.read_conversations(write(tmp_path / "diary.txt", "One. Two."))
    assert (talk.id, texts(list(talk.turns))) == ("diary", ["One.", "Two."])


@given(
    st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=60), min_size=1, max_size=8)
)
def test_json_lines_lose_nothing(rows: list[str]) -> None:
    from affectus.media.tables import parse_table

    content = "\n".join(json.dumps({"text": row}, ensure_ascii=False) for row in rows)
    kept = [(i, " ".join(row.split())) for i, row in enumerate(rows) if row.strip()]
    if kept:
        assert [(turn.row, turn.text) for _, turn in parse_table(content, "a.jsonl")] == kept
    else:
        with pytest.raises(MediaError):
            parse_table(content, "a.jsonl")


@pytest.mark.corpus
def test_real_dialogue_table(shared_data: Path) -> None:
    path = next((shared_data / "meld").rglob("dev*.csv"), None)
    if path is None:
        pytest.skip("MELD dev is not in the shared data")
    talks = media.read_conversations(path)
    turns = [turn for talk in talks for turn in talk.turns]
    assert len({turn.row for turn in turns}) == 1109
    assert len(talks) == 114
    assert all(turn.start < turn.end for turn in turns)

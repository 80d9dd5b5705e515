"""Stores of demonstrations: what is shown, what is passed over, another model, the released file, interpretations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from affectus import corpora
from affectus.corpora.readers import meld
from affectus.corpora.synthetic import Tiny
from affectus.errors import ConfigError, LabelError, ModelError
from affectus.lm.demonstrations import (
    Demonstration,
    DemonstrationStore,
    SentenceVectors,
    demonstrations_of,
    released_sentences,
)
from affectus.lm.interpretations import Interpreter, extract, parse_character, read_interpretations
from affectus.lm.judge import LocalClient

ENCODER = "ngrams:1,width=64,buckets=2048,unit=word"
SAID = ["we lost it", "We lost it!", "we found it", "so angry today", "so glad today", "what a view"]


def store(spaces: Sequence[str] = ("meld7",) * 6, labels: Sequence[str] = ("joy",) * 6) -> DemonstrationStore:
    known = [Demonstration(text, label, space, "made", f"talk{i // 3}", f"turn{i}")
             for i, (text, label, space) in enumerate(zip(SAID, labels, spaces, strict=True))]  # fmt: skip
    return DemonstrationStore.of(known, SentenceVectors(ENCODER))


def test_neither_itself_nor_its_words() -> None:
    own, vectors = store(), SentenceVectors(ENCODER)
    asked = vectors(["we lost it"])
    (all_of_them,) = own.nearest(asked, 3, "meld7")
    assert [one.text for one in all_of_them][:2] == ["we lost it", "We lost it!"]
    assert all_of_them[0].similarity == pytest.approx(1, abs=1e-6)
    (without_itself,) = own.nearest(asked, 3, "meld7", [("made", "talk0", "turn0")])
    assert without_itself[0].text == "We lost it!"
    assert len(without_itself) == 3
    (others,) = own.nearest(asked, 3, "meld7", [("made", "talk0", "turn0")], ["we lost it"], duplicates=False)
    assert others[0].text == "we found it"
    assert "lost" not in " ".join(one.text for one in others)
    assert len(own.nearest(asked, 99, "meld7")[0]) == 6
    with pytest.raises(ConfigError, match="texts of the queries"):
        own.nearest(asked, 3, "meld7", duplicates=False)


def test_labels_are_those_that_are_asked_for() -> None:
    own = store(("prc_demo5", "meld7", "emorynlp7", "iemocap6", "iemocap6", "emorynlp7"),
                ("happy", "anger", "Mad", "excited", "happy", "Powerful"))  # fmt: skip
    assert own.labels_in("meld7")[:3] == ["joy", "anger", "anger"]
    assert own.labels_in("meld7")[4] == "joy"
    assert own.labels_in("iemocap6")[:2] == ["happy", "angry"]
    shown = own.nearest(SentenceVectors(ENCODER)(["so angry today"]), 6, "meld7")[0]
    assert {one.label for one in shown} <= {"joy", "anger", "surprise", "sadness", "neutral"}
    missing = own.labels_in("meld7").count(None)
    assert len(shown) == 6 - missing


def test_a_label_without_counterpart_is_passed_over() -> None:
    own = store(labels=("joy", "disgust", "surprise", "joy", "joy", "joy"))
    target = own.labels_in("iemocap6")
    shown = own.nearest(SentenceVectors(ENCODER)(["we lost it"]), 6, "iemocap6")[0]
    assert len(shown) == sum(label is not None for label in target)
    assert all(one.label in ("happy", "sad", "neutral", "angry", "excited", "frustrated") for one in shown)


def test_many_that_are_passed_over_do_not_hide_the_rest() -> None:
    known = [Demonstration("yeah", "joy", "meld7", "made", "a", str(i)) for i in range(300)]
    known += [Demonstration("yeah right", "anger", "meld7", "made", "b", "0")]
    own = DemonstrationStore.of(known, SentenceVectors(ENCODER))
    (shown,) = own.nearest(SentenceVectors(ENCODER)(["yeah"]), 2, "meld7", None, ["Yeah!"], duplicates=False)
    assert [one.text for one in shown] == ["yeah right"]


def test_texts_without_words() -> None:
    own = store()
    assert own.nearest(SentenceVectors(ENCODER)(["", "we lost it"]), 2, "meld7")[0] == []
    with pytest.raises(ConfigError, match="no sentence with words"):
        DemonstrationStore.of([Demonstration("", "joy", "meld7", "made")], SentenceVectors(ENCODER))


def test_random_encoders_are_the_same_every_time() -> None:
    np.testing.assert_array_equal(SentenceVectors(ENCODER)(SAID), SentenceVectors(ENCODER)(SAID))
    lengths = np.linalg.norm(SentenceVectors(ENCODER)(SAID), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_written_and_opened_again(tmp_path: Path) -> None:
    own = store()
    own.write(tmp_path / "store")
    again = DemonstrationStore.open(tmp_path / "store", ENCODER)
    assert again.demonstrations == own.demonstrations
    assert again.counts() == {"made": 6}
    asked = SentenceVectors(ENCODER)(["so glad"])
    assert again.nearest(asked, 3, "meld7") == own.nearest(asked, 3, "meld7")
    with pytest.raises(ModelError, match="not of 'minilm-l6'"):
        DemonstrationStore.open(tmp_path / "store", "minilm-l6")
    (tmp_path / "store" / "demonstrations.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match="0 demonstrations for 6 vectors"):
        DemonstrationStore.open(tmp_path / "store", ENCODER)


def test_rows_of_a_corpus(tmp_path: Path) -> None:
    meld.write_tiny(Tiny(tmp_path))
    found = demonstrations_of(corpora.load("meld", tmp_path).split("train"), "label:meld7")
    assert len(found) == 6
    assert found[0].key == ("meld", "train/dia0", "train/dia0_utt0")
    assert (found[0].space, found[0].label) == ("meld7", "neutral")


def test_the_released_file(tmp_path: Path) -> None:
    path = tmp_path / "released.json"
    path.write_text(json.dumps([{"sentence": "I did it!", "label": "happy"}, {"sentence": "Oh.", "label": "fear"}]))
    assert [one.label for one in released_sentences(path)] == ["happy", "fear"]
    path.write_text(json.dumps([{"sentence": "I did it!", "label": "happy"}, {"text": "Oh."}]))
    with pytest.raises(ConfigError, match="entry 1"):
        released_sentences(path)
    path.write_text(json.dumps([{"sentence": "I did it!", "label": "awe"}]))
    with pytest.raises(LabelError, match="awe"):
        released_sentences(path)
    with pytest.raises(ConfigError, match="no JSON"):
        released_sentences(tmp_path / "nothing.json")


def test_interpretations_are_asked_for_once_and_counted(tmp_path: Path) -> None:
    meld.write_tiny(Tiny(tmp_path / "meld"))
    corpus = corpora.load("meld", tmp_path / "meld").split("train")
    asked: list[str] = []

    def reply(messages: Sequence[dict[str, str]]) -> str:
        asked.append(messages[-1]["content"])
        if '"Response"' in asked[-1]:
            return '{"Response": "Quick."}'
        return "no idea" if len(asked) == 1 else '{"ExplicitEmotion": "loud", "ImplicitEmotion": "tired"}'

    path = tmp_path / "told.jsonl"
    own = Interpreter(LocalClient("fake", reply), tmp_path / "kept")
    record = extract(corpus, own, path)
    found = read_interpretations(path)
    assert len(found) == 6
    assert sorted({tuple(sorted(one)) for one in found.values()}) == [("character", "explicit", "implicit")]
    assert record["counts"] == {} or "interpretation: no mark found: all of it taken as implicit" in record["counts"]
    assert record["interpretation"]["prompt"]["name"] == "prc_emo/interpretation"
    first = corpus.column("text")[0]
    assert any(first in question for question in asked)
    count = len(asked)
    extract(corpus, Interpreter(LocalClient("fake", reply), tmp_path / "kept"), path)
    assert len(asked) == count
    extract(corpus, Interpreter(LocalClient("another", reply), tmp_path / "kept"), path)
    assert len(asked) > count


def test_unreadable_replies_leave_their_fields_empty(tmp_path: Path) -> None:
    own = Interpreter(LocalClient("mute", lambda messages: "  "))
    turns = [("Ann", "hello"), ("Ben", "oh no")]
    assert own.utterance(turns, 1) == {"explicit": "", "implicit": ""}
    assert own.character(turns, "Ann") == ""
    assert (
        own.counts["interpretation without a readable reply"] == own.counts["character without a readable reply"] == 1
    )
    assert parse_character("nothing").error
    path = tmp_path / "broken.jsonl"
    path.write_text('{"id": "a", "explicit": "x"}\n{"explicit": "y"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2"):
        read_interpretations(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_interpretations(tmp_path / "nothing.jsonl")


def test_the_window_of_an_interpretation_ends_with_its_utterance() -> None:
    seen: list[str] = []

    def reply(messages: Sequence[dict[str, str]]) -> str:
        seen.append(messages[-1]["content"])
        return '{"ExplicitEmotion": "a", "ImplicitEmotion": "b"}'

    turns = [("Ann", f"line number {i}.") for i in range(9)]
    Interpreter(LocalClient("fake", reply)).utterance(turns, 7)
    assert "line number 2." in seen[0]
    assert "line number 1." not in seen[0]
    assert "line number 8." not in seen[0]

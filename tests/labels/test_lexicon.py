"""Lemmas by rule and valence-arousal-dominance lexicons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus.errors import LabelError
from affectus.labels import lexicon
from affectus.labels.lemmas import candidates, lemma

BASES = {
    "worry": "worries worried worrying", "stop": "stopped stopping", "hope": "hoped", "hop": "hopping",
    "love": "loves loved loving", "box": "boxes", "kiss": "kisses", "wish": "wishes", "watch": "watches",
    "fly": "flies", "happy": "happier happiest", "excite": "excited", "frustrate": "frustrated frustrating",
    "admire": "admired", "scare": "scared", "care": "caring", "fear": "feared", "appear": "appeared",
    "treat": "treated", "hate": "hated", "hesitate": "hesitated", "puzzle": "puzzled", "startle": "startled",
    "trouble": "troubling", "dance": "danced", "change": "changing", "hang": "hanging", "play": "played",
    "enjoy": "enjoying", "fix": "fixed", "call": "called", "control": "controlled", "travel": "travelled",
    "miss": "missed", "pass": "passed", "focus": "focused", "use": "using", "close": "closed", "rage": "raging",
    "judge": "judged", "merge": "merged", "wonder": "wondered", "offer": "offering", "happen": "happened",
    "open": "opened", "man": "men", "child": "children", "think": "thought", "go": "went", "feeling": "feelings",
    "die": "dying", "panic": "panicked", "wolf": "wolves", "argue": "argues", "smile": "smiled", "like": "liked",
    "bore": "bored", "tire": "tired", "need": "needed", "amaze": "amazing", "realize": "realized",
    "disappoint": "disappointed", "embarrass": "embarrassed", "annoy": "annoyed", "irritate": "irritated",
    "overwhelm": "overwhelmed", "terrify": "terrified", "horrify": "horrified", "confuse": "confused",
    "amuse": "amused", "please": "pleased", "relieve": "relieved", "satisfy": "satisfied", "cry": "crying",
    "tear": "tears", "tomato": "tomatoes", "bus": "buses", "glasses": "glasses", "news": "news", "nothing": "nothing",
    "boss": "boss", "red": "red", "wicked": "wicked", "visit": "visited", "trust": "trusting", "scream": "screamed",
    "roll": "rolled", "plan": "planned", "beg": "begged", "hug": "hugged", "sob": "sobbing", "grieve": "grieving",
    "charge": "charged", "force": "forced", "sense": "sensed", "assure": "assured", "require": "required",
    "stare": "stared", "ignore": "ignored", "answer": "answered", "anger": "angered", "suffer": "suffering",
    "life": "lives", "leaf": "leaves", "horse": "horses", "case": "cases", "place": "places", "face": "faces",
    "move": "moves",
}  # fmt: skip


@pytest.mark.parametrize(("form", "base"), [(form, base) for base, forms in BASES.items() for form in forms.split()])
def test_lemmas(form: str, base: str) -> None:
    assert lemma(form) == base
    assert lemma(form.capitalize() + "'s") == base


def test_vocabulary_decides() -> None:
    assert lemma("staring") == "stare"
    assert lemma("staring", {"star"}) == "star"
    assert lemma("caring", {"caring", "care"}) == "caring"
    assert lemma("angrily", {"angry"}) == "angry"
    assert lemma("terribly", {"terrible"}) == "terrible"
    assert lemma("excitedly", {"excite"}) == "excite"
    assert lemma("biggest", {"big"}) == "big"
    assert lemma("bravest", {"brave"}) == "brave"
    assert lemma("only", {"on"}) == "only"


@given(st.text(max_size=20))
def test_lemma_never_fails_and_never_grows_much(text: str) -> None:
    found = lemma(text)
    assert len(found) <= len(text.strip().lower()) + 3


@given(st.from_regex(r"[a-z]{1,12}", fullmatch=True))
def test_candidates_are_distinct_and_not_the_word(word: str) -> None:
    found = list(candidates(word))
    assert len(found) == len(set(found))
    assert word not in found


def test_builtin_lexicon() -> None:
    known = lexicon.builtin()
    assert len(known) > 200
    assert np.abs(known.values).max() <= 1
    happy, afraid = known.get("Happy"), known.get("afraid")
    assert happy is not None
    assert afraid is not None
    assert happy[0] > 0 > afraid[0]
    assert known.get("worries") == known.get("worry")
    assert known.get("table") is None
    assert "scared" in known
    assert "chair" not in known


def test_mean_counts_only_known_words() -> None:
    known = lexicon.builtin()
    mean, share = known.mean("Calm, calm table!")
    np.testing.assert_allclose(mean, known.get("calm"), rtol=1e-6)
    assert share == pytest.approx(2 / 3)
    mean, share = known.mean("")
    assert np.isnan(mean).all()
    assert share == 0


def test_tokens() -> None:
    assert lexicon.tokens("Don't worry, self-made 3x naïve_man!") == [
        "don't",
        "worry",
        "self-made",
        "x",
        "naïve",
        "man",
    ]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_formats(tmp_path: Path) -> None:
    plain = lexicon.read_lexicon(write(tmp_path / "a.csv", "Word,Valence,Arousal\nglad,5,3\nsad,1,\n"), unit="likert5")
    assert plain.get("glad")[:2] == (1.0, 0.0)  # type: ignore[index]
    assert np.isnan(plain.lookup(["sad", "glad"])[:, 2]).all()
    assert np.isnan(plain.lookup(["nothing"])).all()
    bare = lexicon.read_lexicon(
        write(tmp_path / "b.tsv", "glad\t0.9\t0.5\t0.6\nsad\t0.1\t0.4\t0.2\n"),
        columns={"word": 0, "valence": 1, "arousal": 2, "dominance": 3},
        unit="unit",
    )
    np.testing.assert_allclose(bare.get("sad"), [-0.8, -0.2, -0.6], atol=1e-6)  # type: ignore[arg-type]
    mean, _ = plain.mean(["glad", "sad"])
    np.testing.assert_allclose(mean[:2], [0.0, 0.0])
    assert np.isnan(mean[2])
    assert plain.name == "a"
    assert plain.digest != bare.digest


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("word,valence\n", "no words"),
        ("word,valence\nglad,high\n", r"x\.csv, row 2: valence is 'high'"),
        ("word,valence\nsad,0\nglad,3\n", r"x\.csv, row 3: valence 3 is off the scale"),
        ("word,valence,arousal\nglad,1\n", "row 2: has 2 cells"),
        ("term,score\nglad,1\n", "give columns"),
    ],
)
def test_damaged_lexicons_are_named(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=reason):
        lexicon.read_lexicon(write(tmp_path / "x.csv", text))


def test_missing_lexicon_and_encoding(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cannot be read"):
        lexicon.read_warriner(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("word,valence\nfröhlich,1\n".encode("latin-1"))
    with pytest.raises(LabelError, match="utf-8"):
        lexicon.read_lexicon(tmp_path / "latin.csv")
    assert lexicon.read_lexicon(tmp_path / "latin.csv", encoding="latin-1").get("fröhlich") is not None
    with pytest.raises(LabelError, match=r"V\.Mean\.Sum"):
        lexicon.read_warriner(write(tmp_path / "other.csv", "Word,V\nglad,1\n"))


def test_warriner(shared_data: Path) -> None:
    known = lexicon.read_warriner(shared_data / "warriner" / "Ratings_Warriner_et_al.csv")
    assert len(known) == 13905  # 13,915 rows; ten differ from another only in case
    np.testing.assert_allclose(known.get("happy"), [(x - 5) / 4 for x in (8.47, 6.05, 7.21)], rtol=1e-6)  # type: ignore[arg-type]
    assert known.find("worries") == "worry"
    assert known.find("sadly") == "sad"
    assert known.find("don't care") is None
    mean, share = known.mean("My kids were screaming, I was terribly frightened!")
    assert mean[0] < 0
    assert share > 0.5

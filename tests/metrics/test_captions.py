"""Sentence scores: hand values, equality with sacrebleu and rouge_score, stored values of the COCO caption tool."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.labels.lemmas import lemma
from affectus.metrics import captions as c
from affectus.metrics import interval, meteor
from affectus.metrics.word_alignment import align, chunks

QUICK = settings(max_examples=15, deadline=None)

TRUTH = [
    ["the sad man walks home alone", "a lonely man goes home in the rain"],
    ["a bright sky makes me feel calm and free", "the calm sky feels free and bright"],
    ["her smile reminds me of summer days", "the smile of the woman is warm"],
]
GUESS = [
    "the lonely man walks home in the rain",
    "a calm sky makes me feel free and bright",
    "her warm smile reminds me of the summer",
]
sentence = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=9).map(" ".join)
rows = st.lists(st.tuples(st.lists(sentence, min_size=1, max_size=3), sentence), min_size=1, max_size=5)


def test_words() -> None:
    assert c.words_of("Don’t worry, he's  HAPPY -- 2 much!") == ["don't", "worry", "he's", "happy", "2", "much"]
    assert c.words_of("...") == []


def test_values_of_the_coco_caption_tool() -> None:
    """Computed once with pycocoevalcap on the same texts; its BLEU is smoothed by a tiny amount."""
    found = [c.bleu(TRUTH, GUESS, order) for order in (1, 2, 3, 4)]
    assert found == pytest.approx([0.96, 0.8355727485, 0.6649183323, 0.4845365561], abs=1e-8)
    assert c.rouge(TRUTH, GUESS, coco=True) == pytest.approx(0.7512349780690714, abs=1e-12)
    assert c.cider(TRUTH, GUESS) == pytest.approx(3.592365861823101, abs=1e-12)


@QUICK
@given(rows)
def test_bleu_equals_sacrebleu(pairs: list[tuple[list[str], str]]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    truth, guess = [list(pair[0]) for pair in pairs], [pair[1] for pair in pairs]
    columns = [[row[i] if i < len(row) else None for row in truth] for i in range(3)]
    for order, add, smooth in ((4, 0.0, "none"), (2, 0.0, "none"), (4, 1.0, "add-k")):
        peer = sacrebleu.BLEU(max_ngram_order=order, smooth_method=smooth, smooth_value=add or None, tokenize="none")
        expected = peer.corpus_score(guess, columns).score / 100
        assert c.bleu(truth, guess, order, add) == pytest.approx(expected, abs=1e-9)


@QUICK
@given(rows)
def test_rouge_equals_rouge_score(pairs: list[tuple[list[str], str]]) -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    peer = scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    for references, guess in pairs:
        expected = peer.score_multi(references, guess)
        for kind, name in ((1, "rouge1"), (2, "rouge2"), ("L", "rougeL")):
            assert c.rouge([references], [guess], kind) == pytest.approx(expected[name].fmeasure)  # type: ignore[arg-type]


def test_rouge_with_stems() -> None:
    truth, guess = ["he walked home"], ["she walks home"]
    assert c.rouge(truth, guess) == pytest.approx(1 / 3)
    assert c.rouge(truth, guess, stem=lemma) == pytest.approx(2 / 3)
    assert c.rouge(["a"], ["a"], kind=2) == 0


@QUICK
@given(st.lists(st.integers(0, 3), max_size=9), st.lists(st.integers(0, 3), max_size=9))
def test_longest_common_subsequence(first: list[int], second: list[int]) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    assert c.subsequence(first, second) == table[-1][-1]


@QUICK
@given(rows)
def test_range_and_perfect_sentences(pairs: list[tuple[list[str], str]]) -> None:
    truth, guess = [list(pair[0]) for pair in pairs], [pair[1] for pair in pairs]
    first = [row[0] for row in truth]
    for metric, most in ((c.bleu, 1), (c.rouge, 1), (meteor, 1), (c.cider, 10)):
        assert 0 <= metric(truth, guess) <= most + 1e-9
    with_guess = [[*row, text] for row, text in zip(truth, guess, strict=True)]
    for metric in (c.rouge, meteor):
        assert metric(truth, guess) <= metric(with_guess, guess)
    assert c.rouge(truth, first) == pytest.approx(1)
    assert c.bleu(truth, first, order=1) == pytest.approx(1)


def test_cider_rewards_rare_words() -> None:
    corpus = [["the man is sad"], ["the man is angry"], ["the man is happy"], ["a dog barks"]]
    truth = ["the man is sad"]
    assert c.cider(truth, truth, corpus=corpus) == pytest.approx(10)
    assert c.cider(truth, ["so sad"], corpus=corpus) > c.cider(truth, ["the cat"], corpus=corpus) > 0
    assert c.cider(truth, truth) == 0
    repeated = "sad sad sad sad"
    assert c.cider(truth, [repeated], order=1, corpus=corpus) < c.cider(
        truth, [repeated], order=1, damped=False, corpus=corpus
    )


def test_meteor_by_hand() -> None:
    # Six of six words in one chunk; then the same words in two chunks.
    assert meteor(["the cat sat on the mat"], ["the cat sat on the mat"]) == pytest.approx(1 - 0.5 / 6**3)
    assert meteor(["the cat sat on a mat"], ["on a mat the cat sat"]) == pytest.approx(1 - 0.5 * (2 / 6) ** 3)
    # P = 2/3, R = 2/4, two chunks of two matches.
    mean = (2 / 3) * (1 / 2) / (0.9 * 2 / 3 + 0.1 / 2)
    assert meteor(["a b c d"], ["a x c"]) == pytest.approx(mean * 0.5)
    assert meteor(["a"], ["b"]) == meteor(["a"], ["!"]) == 0


def test_meteor_stages() -> None:
    truth, guess = ["she walks home happy"], ["she walked home glad"]
    plain = meteor(truth, guess)
    stemmed = meteor(truth, guess, stem=lemma)
    full = meteor(truth, guess, stem=lemma, synonyms=lambda word: {"glad": ["happy"]}.get(word, ()))
    assert plain < stemmed < full == pytest.approx(1 - 0.5 / 4**3)


@pytest.mark.parametrize("seed", range(3))
def test_meteor_is_at_least_that_of_nltk(seed: int) -> None:
    """NLTK aligns from the end of the sentence; fewer chunks can only raise the score."""
    score = pytest.importorskip("nltk.translate.meteor_score").single_meteor_score
    stemmer = pytest.importorskip("nltk.stem").PorterStemmer()
    wordnet = type("NoWordNet", (), {"synsets": staticmethod(lambda word: [])})()
    rng = random.Random(seed)
    apart = ["walk", "sad", "run", "home", "alone", "happy", "rain", "smile"]
    alike = ["walk", "walked", "sad", "sadness", "run", "runs", "home", "alone"]
    for words in [apart] * 20 + [alike] * 20:
        truth, guess = rng.sample(words, 6), rng.sample(words, 5)
        expected = score(truth, guess, stemmer=stemmer, wordnet=wordnet)
        found = meteor([" ".join(truth)], [" ".join(guess)], stem=stemmer.stem)
        assert found >= expected - 1e-9
        if words is apart:
            assert found == pytest.approx(expected)


@QUICK
@given(sentence, sentence)
def test_alignment_uses_every_word_once(first: str, second: str) -> None:
    reference, guess = tuple(first.split()), tuple(second.split())
    pairs = align(reference, guess, [lambda a, b: a == b])
    assert len(pairs) == sum(min(reference.count(word), guess.count(word)) for word in set(guess))
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(guess[i] == reference[j] for i, j in pairs)
    assert pairs == sorted(pairs)
    assert chunks(pairs) <= len(pairs)
    assert chunks(align(guess, guess, [lambda a, b: a == b])) == 1


def test_later_words_join_a_chunk_that_is_fixed() -> None:
    stages = [lambda a, b: a == b, lambda a, b: a[:4] == b[:4]]
    found = align(("home", "walked", "so", "alone"), ("walking", "alone", "home", "walks"), stages)
    assert found == [(1, 3), (2, 0), (3, 1)]


def test_distinct() -> None:
    texts = ["A happy dog.", "a happy cat", "A happy dog"]
    assert c.distinct(texts, 1) == pytest.approx(4 / 9)
    assert c.distinct(texts, 2) == pytest.approx(3 / 6)
    assert c.distinct_sentences(texts) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no sentence has 4 words"):
        c.distinct(texts, 4)
    with pytest.raises(ValueError, match="empty"):
        c.distinct_sentences([])


def test_intervals() -> None:
    for metric in (c.bleu, c.rouge, c.cider, meteor):
        found = interval(metric, TRUTH * 10, GUESS * 10, draws=100)
        assert found.value == pytest.approx(metric(TRUTH * 10, GUESS * 10), abs=1e-9)
        assert found.low < found.value < found.high


def test_bad_input() -> None:
    for metric in (c.bleu, c.rouge, c.cider, meteor):
        with pytest.raises(ValueError, match="truth is empty"):
            metric([], [])
        with pytest.raises(ValueError, match="1 rows but prediction has 2"):
            metric(["a"], ["a", "b"])
        with pytest.raises(ValueError, match="row 0 must hold"):
            metric([[]], ["a"])
        with pytest.raises(ValueError, match="row 1 must hold"):
            metric(["a", "b"], ["a", None])
        assert metric(["a b"], [""]) == 0
    with pytest.raises(ValueError, match="kind"):
        c.rouge(["a"], ["a"], kind=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="order"):
        c.bleu(["a"], ["a"], order=0)
    with pytest.raises(ValueError, match="n must be"):
        c.distinct(["a"], 0)

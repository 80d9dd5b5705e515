"""Scores of generated sentences against reference sentences.

`truth` holds per row one reference or a list of them, `prediction` one sentence per row. Sentences are cut by
`words_of` unless another tokenizer is given; published numbers depend on theirs (COCO's is a Java program), so a score
from here is comparable with them only for text that both cut alike.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Literal

import numpy as np

from affectus.metrics.inputs import Floats
from affectus.metrics.sums import finish_mean, mean_of_rows, sums_to

Tokenizer = Callable[[str], Sequence[str]]
Stem = Callable[[str], str]
Synonyms = Callable[[str], Iterable[str]]
Tokens = tuple[str, ...]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_HAN_OR_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


def words_of(text: str) -> list[str]:
    """Lower-case words of a text; punctuation is dropped, an apostrophe inside a word stays."""
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def characters_of(text: str) -> list[str]:
    """Han characters and kana one by one, other words whole and in lower case, punctuation dropped: for Chinese, where
    nothing stands between words."""
    return _HAN_OR_WORD.findall(text.lower())


def reference_rows(truth: Any, prediction: Any, tokenize: Tokenizer) -> list[tuple[list[Tokens], Tokens]]:
    """Tokens of the references and of the sentence of every row."""
    references, sentences = list(truth), list(prediction)
    if not references:
        raise ValueError("truth is empty: there is nothing to score")
    if len(references) != len(sentences):
        raise ValueError(f"truth has {len(references)} rows but prediction has {len(sentences)}")
    rows = []
    for number, (given, sentence) in enumerate(zip(references, sentences, strict=True)):
        texts = [given] if isinstance(given, str) else list(given)
        if not texts or not all(isinstance(text, str) for text in [*texts, sentence]):
            raise ValueError(f"row {number} must hold at least one reference text and one sentence")
        rows.append(([tuple(tokenize(text)) for text in texts], tuple(tokenize(sentence))))
    return rows


def _ngrams(tokens: Sequence[str], n: int) -> Counter[Tokens]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _bleu_rows(truth: Any, prediction: Any, order: int = 4, add: float = 0.0, tokenize: Tokenizer = words_of) -> Floats:
    """Rows `(N, 2 order + 2)`: hits and n-grams of every length, length of the sentence and of its reference."""
    if order < 1:
        raise ValueError(f"order must be at least 1, not {order}")
    rows = reference_rows(truth, prediction, tokenize)
    table = np.zeros((len(rows), 2 * order + 2))
    for number, (references, sentence) in enumerate(rows):
        for n in range(1, order + 1):
            most: Counter[Tokens] = Counter()
            for reference in references:
                most |= _ngrams(reference, n)
            own = _ngrams(sentence, n)
            table[number, n - 1] = (own & most).total()
            table[number, order + n - 1] = own.total()
        length = len(sentence)
        table[number, -2:] = length, min((abs(len(r) - length), len(r)) for r in references)[1]
    return table


def _finish_bleu(sums: Floats, order: int = 4, add: float = 0.0, tokenize: Tokenizer = words_of) -> Floats:
    # Longer n-grams may be smoothed; single words never are.
    extra = np.r_[0.0, np.full(order - 1, add)]
    hits, totals = sums[..., :order] + extra, sums[..., order : 2 * order] + extra
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(hits / totals)
        brevity = np.minimum(0.0, 1 - sums[..., -1] / sums[..., -2])
    value = np.exp(logs.mean(axis=-1) + brevity)
    return np.where((hits > 0).all(axis=-1) & (totals > 0).all(axis=-1), value, 0.0)


@sums_to(_bleu_rows, _finish_bleu)
def bleu(truth: Any, prediction: Any, order: int = 4, add: float = 0.0, tokenize: Tokenizer = words_of) -> float:
    """BLEU of the corpus up to n-grams of length `order`, in [0, 1] (Papineni et al. 2002).

    The reference nearest in length sets the brevity penalty, the shorter one of two. 0 when an n-gram length has no
    hit; `add` is added to hits and totals of n > 1 (Lin & Och 2004), which single sentences need.
    """
    return float(_finish_bleu(_bleu_rows(truth, prediction, order, add, tokenize).sum(axis=0), order, add))


def subsequence(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Length of the longest common subsequence."""
    before = np.zeros(len(second) + 1, dtype=np.int64)
    other = np.empty(len(second), dtype=object)
    other[:] = list(second)
    for item in first:
        # A cell is the larger of the one above, the one left of it, and one more than the one above left on a match.
        now = before.copy()
        now[1:] = np.maximum(now[1:], before[:-1] + (other == item))
        before = np.maximum.accumulate(now)
    return int(before[-1])


def _overlap(reference: Tokens, sentence: Tokens, kind: Literal["L", 1, 2]) -> tuple[float, float]:
    """Precision and recall of a sentence against one reference."""
    if kind == "L":
        hits, lengths = subsequence(sentence, reference), (len(sentence), len(reference))
    else:
        own, other = _ngrams(sentence, kind), _ngrams(reference, kind)
        hits, lengths = (own & other).total(), (own.total(), other.total())
    return (hits / lengths[0] if lengths[0] else 0.0), (hits / lengths[1] if lengths[1] else 0.0)


def _f_score(precision: float, recall: float, beta: float) -> float:
    bottom = recall + beta**2 * precision
    return (1 + beta**2) * precision * recall / bottom if bottom else 0.0


def _rouge_rows(
    truth: Any,
    prediction: Any,
    kind: Literal["L", 1, 2] = "L",
    coco: bool = False,
    stem: Stem | None = None,
    tokenize: Tokenizer = words_of,
) -> Floats:
    if kind not in ("L", 1, 2):
        raise ValueError(f"kind must be 'L', 1 or 2, not {kind!r}")
    cut: Tokenizer = tokenize if stem is None else lambda text: [stem(word) for word in tokenize(text)]
    values = []
    for references, sentence in reference_rows(truth, prediction, cut):
        pairs = [_overlap(reference, sentence, kind) for reference in references]
        if coco:
            values.append(_f_score(max(p for p, _ in pairs), max(r for _, r in pairs), 1.2))
        else:
            values.append(max(_f_score(precision, recall, 1.0) for precision, recall in pairs))
    return mean_of_rows(np.array(values))


@sums_to(_rouge_rows, finish_mean)
def rouge(
    truth: Any,
    prediction: Any,
    kind: Literal["L", 1, 2] = "L",
    coco: bool = False,
    stem: Stem | None = None,
    tokenize: Tokenizer = words_of,
) -> float:
    """ROUGE-L (longest common subsequence), ROUGE-1 or ROUGE-2, mean over rows of the F score, in [0, 1].

    The best reference counts, with F of equal weights. `coco` takes the best precision and the best recall over all
    references and beta 1.2, as the COCO caption tool. `stem` maps words to stems first.
    """
    return float(_rouge_rows(truth, prediction, kind, coco, stem, tokenize)[:, 1].mean())


def distinct(sentences: Iterable[str], n: int = 2, tokenize: Tokenizer = words_of) -> float:
    """Distinct-n: different n-grams of all sentences together over their number, in [0, 1] (Li et al. 2016)."""
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    grams = list(chain.from_iterable(_ngrams(list(tokenize(text)), n).elements() for text in sentences))
    if not grams:
        raise ValueError(f"no sentence has {n} words")
    return len(set(grams)) / len(grams)


def distinct_sentences(sentences: Iterable[str], tokenize: Tokenizer = words_of) -> float:
    """Share of different sentences among all, in (0, 1]; case and punctuation do not matter."""
    cut = [tuple(tokenize(text)) for text in sentences]
    if not cut:
        raise ValueError("sentences is empty: there is nothing to score")
    return len(set(cut)) / len(cut)


def _cider_rows(
    truth: Any,
    prediction: Any,
    order: int = 4,
    damped: bool = True,
    sigma: float = 6.0,
    corpus: Any = None,
    tokenize: Tokenizer = words_of,
) -> Floats:
    rows = reference_rows(truth, prediction, tokenize)
    known = [references for references, _ in rows]
    if corpus is not None:
        known = [[tuple(tokenize(text)) for text in ([row] if isinstance(row, str) else row)] for row in corpus]
    table = np.zeros((len(rows), order))
    for n in range(1, order + 1):
        found = Counter(gram for row in known for gram in set().union(*(_ngrams(text, n) for text in row)))
        size = np.log(max(len(known), 1))
        weight = lru_cache(maxsize=None)(lambda gram, found=found, size=size: size - np.log(max(1, found[gram])))
        for number, (references, sentence) in enumerate(rows):
            own = _Weighted(sentence, n, weight)
            others = [_Weighted(reference, n, weight) for reference in references]
            table[number, n - 1] = np.mean([own.cosine(other, damped, sigma) for other in others])
    return mean_of_rows(10 * table.mean(axis=1))


class _Weighted:
    """n-grams of a text with their tf-idf weights."""

    def __init__(self, tokens: Tokens, n: int, weight: Callable[[Tokens], float]) -> None:
        self.length = len(tokens)
        self.weights = {gram: count * weight(gram) for gram, count in _ngrams(tokens, n).items()}
        self.norm = float(np.sqrt(sum(value**2 for value in self.weights.values())))

    def cosine(self, reference: _Weighted, damped: bool, sigma: float) -> float:
        """Cosine with a reference; `damped` limits repeated n-grams and other lengths (the D in CIDEr-D)."""
        norm = self.norm * reference.norm
        if not norm:
            return 0.0
        cap: Callable[[float, float], float] = min if damped else lambda own, _: own
        shared = ((own, reference.weights.get(gram, 0.0)) for gram, own in self.weights.items())
        value = sum(cap(own, other) * other for own, other in shared) / norm
        gap = self.length - reference.length
        return value * float(np.exp(-(gap**2) / (2 * sigma**2))) if damped else value


@sums_to(_cider_rows, finish_mean)
def cider(
    truth: Any,
    prediction: Any,
    order: int = 4,
    damped: bool = True,
    sigma: float = 6.0,
    corpus: Any = None,
    tokenize: Tokenizer = words_of,
) -> float:
    """CIDEr-D, or CIDEr with `damped=False`, mean over rows, in [0, 10] (Vedantam et al. 2015).

    tf-idf cosine of n-grams up to `order`, averaged over references. The rarity of an n-gram comes from the references
    of `truth`, or from those of `corpus` (rows of references) where few rows are scored; one row alone scores 0.
    """
    return float(_cider_rows(truth, prediction, order, damped, sigma, corpus, tokenize)[:, 1].mean())

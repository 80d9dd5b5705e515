"""What of a corpus a model can be scored on: which columns, and how labels correspond, by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from affectus.corpora import Corpus
from affectus.corpora.base import column_kind
from affectus.errors import ConfigError, CorpusError, LabelError
from affectus.labels import LabelMap, map_between, space
from affectus.labels.maps import PIVOTS
from affectus.types import Card

#: Whose ratings a model predicts first; "" is the corpus's unmarked column. Words were learnt with combined ratings.
_RATED_BY = {"words": ("", "evoked", "expressed"), "scene": ("evoked", "", "felt")}
_RATED_BY_DEFAULT = ("", "expressed", "evoked", "felt")


@dataclass(frozen=True)
class LabelTarget:
    """A label column and the way from model labels to it.

    `map` leads from the model's space to the corpus's, or, where there is no such map, both lead to a third space, the
    labels of the corpus through `truth_map`. `labels` are those that the corpus has and the model can produce, in the
    order of the space; `multi` says that items have several.
    """

    column: str
    labels: tuple[str, ...]
    map: LabelMap
    multi: bool
    perspective: str
    truth_map: LabelMap | None = None

    @property
    def identical(self) -> bool:
        """Whether the model speaks the corpus's own label space."""
        return self.map.source.name == self.map.target.name

    def reorder(self, scores: np.ndarray, labels: tuple[str, ...]) -> np.ndarray:
        """Scores (n, K) in card order → the order of the label space, by name."""
        order = [labels.index(name) for name in self.map.source.labels if name in labels]
        if len(order) != len(self.map.source) or len(labels) != len(order):
            raise LabelError(self.map.source.name, "the labels of the card are not those of its label space")
        return np.asarray(scores, np.float64)[:, order]

    def mapped(self, scores: np.ndarray) -> np.ndarray:
        """Scores (n, K_model) in space order → (n, len(labels)), for one label per item: rows sum to one."""
        if self.identical and not self.map.source.multi_label:
            return scores
        full = self.map.apply(scores, "any" if self.map.source.multi_label else "sum")
        kept = full[:, [self.map.target.index(name) for name in self.labels]]
        total = kept.sum(axis=1, keepdims=True)
        return np.where(total > 0, kept / np.where(total > 0, total, 1), 1 / len(self.labels))

    def independent(self, scores: np.ndarray, decided: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and decisions (n, len(labels)) for several labels per item; a decision carries over to the
        label it maps to."""
        columns = [self.map.target.index(name) for name in self.labels]
        matrix = self.map.matrix[:, columns]
        return self.map.apply(scores, "any")[:, columns], (decided @ (matrix >= 0.5) > 0).astype(int)


def label_target(corpus: Corpus, card: Card, column: str | None = None) -> LabelTarget | None:
    """The label column that fits the model best: its own space, else the one of which it reaches most labels.

    None when no column can be reached; `column` forces one (CorpusError or LabelError when that cannot be scored).
    """
    if column is not None:
        if column not in corpus.table.column_names:
            raise CorpusError(
                corpus.name, f"no column {column!r}", f"columns are {', '.join(corpus.table.column_names)}"
            )
        return _target(column, corpus, card)
    if card.space == "va":
        return None
    found = []
    for name in corpus.table.column_names:
        if column_kind(name)[0] in ("label", "labels") and corpus.table[name].null_count < len(corpus):
            try:
                found.append(_target(name, corpus, card))
            except LabelError:
                continue
    fitting = [target for target in found if target.labels]
    return max(fitting, key=lambda t: (t.identical, t.perspective == card.perspective, len(t.labels)), default=None)


def _target(column: str, corpus: Corpus, card: Card) -> LabelTarget:
    kind, name, _ = column_kind(column)
    if kind not in ("label", "labels"):
        raise ConfigError(column, "is no label column", "choose one that starts with label: or labels:")
    perspective = _perspective(corpus, column)
    try:
        link = map_between(card.space, space(name))
    except LabelError:
        return _common_target(column, name, kind == "labels", perspective, card)
    labels = tuple(label for label in link.target.labels if label not in link.unreached)
    return LabelTarget(column, labels, link, kind == "labels", perspective)


def _common_target(column: str, name: str, multi: bool, perspective: str, card: Card) -> LabelTarget:
    """Model and corpus labels both mapped to the pivot space in which most labels of the corpus survive."""
    found = []
    for pivot in PIVOTS:
        try:
            link, truth = map_between(card.space, pivot), map_between(name, pivot)
        except LabelError:
            continue
        labels = tuple(x for x in link.target.labels if x not in link.unreached and x not in truth.unreached)
        if labels:
            found.append(LabelTarget(column, labels, link, multi, perspective, truth))
    if not found:
        raise LabelError(f"{card.space} → {name}", "no label space is in reach of both")
    return max(found, key=lambda t: (len(t.labels), -len(t.truth_map.dropped) if t.truth_map else 0))


def _perspective(corpus: Corpus, column: str) -> str:
    metadata = corpus.table.schema.field(column).metadata or {}
    return metadata.get(b"perspective", b"").decode()


def dimension_targets(corpus: Corpus, card: Card, dimensions: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Perspective → dimension → column, the perspective that the model was trained for first.

    The key is the perspective of the ratings (`evoked`, `mixed` …).
    """
    found: dict[str, dict[str, str]] = {}
    for mark in _RATED_BY.get(card.modality, _RATED_BY_DEFAULT):
        columns = {d: f"dim:{d}@{mark}" if mark else f"dim:{d}" for d in dimensions}
        present = {
            d: c
            for d, c in columns.items()
            if c in corpus.table.column_names and corpus.table[c].null_count < len(corpus)
        }
        if present:
            found.setdefault(_perspective(corpus, next(iter(present.values()))) or mark or "unmarked", present)
    return found


def truth_sets(corpus: Corpus, target: LabelTarget) -> list[tuple[str, ...] | None]:
    """Labels of each row in the space they are scored in, None where there is none."""
    known = target.truth_map.source if target.truth_map else target.map.target
    rows: list[tuple[str, ...] | None] = []
    for value in corpus.column(target.column):
        names = [known.lookup(name, corpus.name) for name in ([value] if isinstance(value, str) else value or [])]
        if target.truth_map is not None:
            names = [label for name in names if (label := target.truth_map.label(name)) is not None]
        rows.append(tuple(dict.fromkeys(names)) or None)
    return rows


def first_group(corpus: Corpus) -> str | None:
    """The corpus's first group column with at least two values and fewer values than rows."""
    for name in corpus.table.column_names:
        if name.startswith("group:"):
            values = corpus.table[name]
            count = len(values.unique())
            if values.null_count == 0 and 2 <= count < len(corpus):
                return name
    return None


def trained_on(card: Card, corpus: Corpus) -> str:
    """A warning when the model learnt from this corpus and the rows are not from a part kept for testing."""
    known = next((entry for entry in card.data if entry.get("name") == corpus.name), None)
    if known is None:
        return ""
    parts = {part or "unnamed" for part in corpus.column("split")}
    if parts == {"test"}:
        return ""
    return (
        f"the model was trained with data of this corpus (split of the card: {card.split or 'not stated'}); rows "
        f"scored here are from: {', '.join(sorted(parts))}. A score on items it learnt from is no test score"
    )

"""`affectus evaluate`: an embedded model on a corpus folder, as one result record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from affectus import corpora, models
from affectus.corpora import Corpus
from affectus.errors import ConfigError, CorpusError
from affectus.evaluation import feeding, measures, targets
from affectus.evaluation.record import Record, environment, plain, skip_list
from affectus.metrics import confusion
from affectus.types import Card


def evaluate(
    model: str,
    corpus: str,
    root: str | Path,
    split: str = "all",
    folder: str | Path | None = None,
    *,
    column: str | None = None,
    progress: feeding.Progress | None = None,
) -> dict[str, Any]:
    """Score a shipped model (`face`, `voice`, `words`, `scene`) on a corpus in its published layout.

    `root` is the corpus folder or an archive of it, `split` `train`, `valid`, `test` or `all` (whatever lies there),
    `folder` another model folder of the same kind, `column` the label column to score on where the corpus has several,
    `progress(done, total)` is called as items are read. Returns the fields of a `Record`: metrics in [0, 1] or natural
    units, each with a 95 % interval over the corpus's groups (speakers, themes …) or, where it has none, over items.

    Raises ModelError, CorpusError or ConfigError; unreadable items are listed in `skipped` instead, as long as one is
    left.
    """
    loaded = models.load(model, folder)
    items = corpora.load(corpus, root, split, strict=False)
    rows, left_out = feeding.usable_rows(items, loaded.card.modality)
    if not len(rows):
        why = "; ".join(f"{reason} ({count} items)" for reason, count in left_out.items()) or "no items"
        raise CorpusError(items.files.root, f"holds {why}", f"see affectus corpora info {items.name}")
    target = targets.label_target(items, loaded.card, column)
    rated = targets.dimension_targets(items, loaded.card, ("valence", "arousal", "dominance"))
    if target is None and not rated:
        raise ConfigError(
            f"{model} × {items.name}",
            f"there is nothing to score: {loaded.card.space} maps to no label column of the corpus",
            "see affectus corpora info",
        )
    rows, unlabelled = _with_truth(items, rows, target, rated)
    outputs = feeding.run(loaded, items, rows, progress)
    record = _opened(loaded.card, items, split, outputs, left_out | unlabelled)
    grouping = _Grouping(items, targets.first_group(items))
    if target is not None:
        _score_labels(record, target, outputs, items, loaded, grouping)
    if rated:
        _score_dimensions(record, rated, outputs, items, grouping)
    record.interval = grouping.described()
    if not record.metrics:
        raise CorpusError(items.files.root, "holds no item with a label that the model can give", items.info.obtain)
    return plain(record.as_dict())


def _opened(card: Card, corpus: Corpus, split: str, outputs: feeding.Outputs, left_out: dict[str, int]) -> Record:
    """A record without scores: what ran on what, and what could not be read."""
    problems = [(f"{p.file}:{p.row}" if p.row else p.file, p.reason) for p in corpus.problems]
    return Record(
        model=card.name,
        corpus=corpus.name,
        split=split.lower(),
        n=len(outputs.rows),
        metrics={},
        perspective=card.perspective,
        left_out=left_out,
        skipped=skip_list([*problems, *outputs.skipped]),
        notes=[note for note in (f"inputs: {outputs.reading}", targets.trained_on(card, corpus)) if note],
        selection=card.selection,
        version=card.version,
        weights=dict(card.files),
        environment=environment(),
    )


class _Grouping:
    """Group keys of scored rows: resampling is over these, since rows of one speaker or theme are not independent."""

    def __init__(self, corpus: Corpus, column: str | None) -> None:
        self._column = column
        self._keys = None if column is None else np.asarray(corpus.column(column), dtype=str)
        self._used: set[str] = set()

    def of(self, rows: np.ndarray) -> np.ndarray | None:
        """Keys of some rows, None where they are not at least two groups."""
        if self._keys is None or len(np.unique(self._keys[rows])) < 2:
            return None
        self._used |= set(self._keys[rows].tolist())
        return self._keys[rows]

    def described(self) -> dict[str, Any]:
        """How the intervals were made."""
        about = {"level": measures.LEVEL, "draws": measures.DRAWS, "method": "percentile bootstrap", "seed": 0}
        return about | ({"over": self._column, "groups": len(self._used)} if self._used else {"over": "items"})


def _with_truth(
    corpus: Corpus, rows: np.ndarray, target: targets.LabelTarget | None, rated: dict[str, dict[str, str]]
) -> tuple[np.ndarray, dict[str, int]]:
    """Rows that have a label or a rating, so that nothing is run in vain."""
    known = np.zeros(len(corpus), bool)
    if target is not None:
        known |= np.array([value not in (None, []) for value in corpus.column(target.column)], bool)
    for columns in rated.values():
        for column in columns.values():
            known |= ~np.isnan(corpus.array(column))
    kept = rows[known[rows]]
    if not len(kept):
        raise CorpusError(corpus.files.root, "holds no labelled item for this model", corpus.info.obtain)
    lost = len(rows) - len(kept)
    return kept, {"no label (a tie of the raters, or none of the labels)": lost} if lost else {}


def _score_labels(
    record: Record,
    target: targets.LabelTarget,
    outputs: feeding.Outputs,
    corpus: Corpus,
    model: Any,
    grouping: _Grouping,
) -> None:
    """Fill in label metrics, confusion, baselines and the map."""
    card: Card = model.card
    sets = targets.truth_sets(corpus, target)
    scores = target.reorder(outputs.scores, card.labels)
    record.target, record.labels = target.column, list(target.labels)
    record.mapping = {
        "from": target.map.source.name,
        "to": target.map.target.name,
        "loss": target.map.loss,
        "via": list(target.map.via),
    }
    if target.truth_map is not None:
        record.mapping["corpus"] = {"from": target.truth_map.source.name, "loss": target.truth_map.loss}
    kept = np.array([_scorable(sets[row], target, card) for row in outputs.rows], bool)
    for reason, count in _reasons(sets, outputs.rows, kept, target).items():
        record.left_out[reason] = count
    rows = outputs.rows[kept]
    record.n = len(rows)
    if not len(rows):
        return
    groups = grouping.of(rows)
    place = {label: i for i, label in enumerate(target.labels)}
    if target.multi and target.map.source.multi_label:
        truth = np.zeros((len(rows), len(place)), np.int64)
        for i, row in enumerate(rows):
            truth[i, [place[label] for label in sets[row] or () if label in place]] = 1
        thresholds = target.reorder(np.asarray(model.thresholds)[None], card.labels)
        probabilities, decided = target.independent(scores[kept], (scores[kept] >= thresholds).astype(int))
        record.metrics |= measures.multilabel(truth, probabilities, decided, groups)
        record.baselines |= measures.multilabel_baselines(truth)
        record.headline = "macro_f1"
        return
    truth = np.array([place[(sets[row] or ("",))[0]] for row in rows], np.int64)
    probabilities = target.mapped(scores[kept])
    record.metrics |= measures.classification(truth, probabilities, groups)
    record.baselines |= measures.class_baselines(truth, len(place))
    record.confusion = confusion(truth, probabilities.argmax(axis=1), len(place)).astype(int).tolist()
    record.headline = "uar" if card.modality == "voice" else "accuracy"


def _scorable(labels: tuple[str, ...] | None, target: targets.LabelTarget, card: Card) -> bool:
    """Whether the row has labels that the model can give: one of them, or several if it gives several."""
    if labels is None:
        return False
    if target.multi and target.map.source.multi_label:
        return any(label in target.labels for label in labels)
    return len(labels) == 1 and labels[0] in target.labels


def _reasons(
    sets: list[tuple[str, ...] | None], rows: np.ndarray, kept: np.ndarray, target: targets.LabelTarget
) -> dict[str, int]:
    lost: dict[str, int] = {}
    for row in rows[~kept]:
        labels = sets[row]
        if labels is None:
            reason = "no label (a tie of the raters, or none of the labels)"
        elif len(labels) > 1 and not target.map.source.multi_label:
            reason = "several labels, of which the model gives one"
        else:
            reason = f"labels that the model cannot give: {', '.join(target.map.unreached)}"
        lost[reason] = lost.get(reason, 0) + 1
    return lost


def _score_dimensions(
    record: Record,
    rated: dict[str, dict[str, str]],
    outputs: feeding.Outputs,
    corpus: Corpus,
    grouping: _Grouping,
) -> None:
    """Fill in dimension metrics: of the first perspective under plain names, of the others with its name behind."""
    for number, (perspective, columns) in enumerate(rated.items()):
        columns = {name: column for name, column in columns.items() if name in outputs.dimensions}
        if not columns:
            continue
        values = {name: corpus.array(column)[outputs.rows] for name, column in columns.items()}
        kept = ~np.isnan(np.stack(list(values.values()))).any(axis=0)
        if not kept.any():
            continue
        truth = {name: value[kept] for name, value in values.items()}
        found = {name: outputs.dimensions[name][kept] for name in columns}
        groups = grouping.of(outputs.rows[kept])
        record.metrics |= measures.dimensions(truth, found, groups, f"_{perspective}" if number else "")
        record.parts[perspective] = {"columns": sorted(columns.values()), "n": int(kept.sum())}
        if number:
            continue
        record.baselines |= measures.dimension_baselines(truth)
        mark = next(iter(columns.values())).partition("@")[2]
        if not record.target:
            record.target, record.n, record.headline = (
                f"dim:*@{mark}" if mark else "dim:*",
                int(kept.sum()),
                "pcc_valence",
            )
        if outputs.low is not None and outputs.high is not None:
            for place, name in enumerate(("valence", "arousal")):
                if name in truth:
                    bounds = outputs.low[kept, place], outputs.high[kept, place]
                    record.metrics |= measures.coverage(truth[name], *bounds, name, groups)

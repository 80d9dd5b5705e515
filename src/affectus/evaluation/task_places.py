"""Scoring of places and ranks: spans in time, boxes in pictures, retrieval."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from affectus.errors import ConfigError
from affectus.evaluation.measures import Entries, entry
from affectus.evaluation.pairing import Pairs
from affectus.evaluation.record import Entry
from affectus.evaluation.scored import Context, Scored
from affectus.metrics.boxes import box_precision, corners
from affectus.metrics.grounding import grounding_recall, mean_iou, ranked_spans
from affectus.metrics.retrieval import layered_recall, mean_rank, median_rank, mrr, recall_at

_SPAN = ("span", "timestamp", "timestamps", "window", "relevant_windows")
_SPANS = (
    "spans",
    "pred_relevant_windows",
    "predicted_spans",
    "span",
    "timestamp",
    "timestamps",
    "windows",
    "predictions",
)
_BOX = ("bbox", "box", "meta:box", "predicted_bbox", "pred_bbox")


def _numbers(value: Any) -> np.ndarray:
    """Spans or boxes as an array; text is read as JSON."""
    if value is None:
        return np.zeros((0, 2))
    return np.asarray(json.loads(value) if isinstance(value, str) else value, np.float64)


def spans(pairs: Pairs, context: Context) -> Scored:
    """Temporal grounding: R@n for the overlaps `ious`, and mIoU. Spans come best first; a score behind is ignored."""
    truth = np.array([_numbers(value).ravel()[:2] for value in pairs.true(_SPAN)])
    kept = truth[:, 1] > truth[:, 0]
    pairs = pairs.keep(kept, "the true span is empty")
    rows = []
    for value in pairs.guessed(_SPANS):
        found = _numbers(value)
        found = found[None] if found.ndim == 1 and found.size else found
        rows.append(found[:, :2] if found.size else np.zeros((0, 2)))
    ranked = ranked_spans(rows)
    metrics: Entries = {
        f"R{n}@{iou:g}": entry(grounding_recall, truth[kept], ranked, n=n, iou=float(iou))
        for n in context.options["ns"]
        for iou in context.options["ious"]
        if n <= ranked.shape[1]
    }
    metrics["mIoU"] = entry(mean_iou, truth[kept], ranked)
    middle = np.median(truth[kept], axis=0)
    always = ranked_spans([middle[None]] * int(kept.sum()))
    baselines = {
        "median_span": {"mIoU": mean_iou(truth[kept], always)}
        | {f"R1@{iou:g}": grounding_recall(truth[kept], always, 1, float(iou)) for iou in context.options["ious"]}
    }
    return Scored(metrics, len(pairs), baselines=baselines, left_out=pairs.left_out)


def boxes(pairs: Pairs, context: Context) -> Scored:
    """Prec@0.5 of one box per expression; `layout` of the truth, `prediction_layout` of the predictions."""
    layout = context.options.get("layout", "xywh")
    truth = corners(np.array([_numbers(value) for value in pairs.true(_BOX)]), layout)
    given = [_numbers(value) for value in pairs.guessed(_BOX)]
    known = context.options.get("prediction_layout", layout)
    guess = np.zeros((len(given), 4))
    for i, box in enumerate(given):
        if box.size >= 4:
            guess[i] = corners(box.ravel()[None, :4], known)[0]
    found = {
        f"precision@{iou:g}": entry(box_precision, truth, guess, iou=float(iou)) for iou in context.options["ious"]
    }
    whole = np.tile([truth[:, 0].min(), truth[:, 1].min(), truth[:, 2].max(), truth[:, 3].max()], (len(truth), 1))
    baselines = {"everything": {"precision@0.5": box_precision(truth, whole, 0.5)}}
    return Scored(found, len(pairs), baselines=baselines, left_out=pairs.left_out)


def retrieval(pairs: Pairs, context: Context) -> Scored:
    """Text to video and back from similarity tables (queries × gallery), one per layer of meaning.

    The npz holds `similarity`, or one table per layer (`factual`, `abstract`, `intent`), and optionally `truth`, the
    number of the right item of every query (the same row by default).
    """
    layers = [name for name in context.options["layers"] if name in context.predictions.arrays]
    names = layers or [name for name in ("similarity", "similarities") if name in context.predictions.arrays]
    if not names:
        wanted = ", ".join(["similarity", *context.options["layers"]])
        raise ConfigError(context.predictions.source, "holds no similarity table", f"give an npz with {wanted}")
    tables = {name: np.asarray(context.predictions.arrays[name], np.float64) for name in names}
    queries, gallery = next(iter(tables.values())).shape
    stated = context.predictions.arrays.get("truth")
    truth = np.arange(queries) if stated is None else np.asarray(stated).astype(int)
    found: Entries = {}
    ties = context.options.get("ties", "average")
    for name, table in tables.items():
        end = f"_{name}" if layers else ""
        found |= _directions(truth, table, end, ties)
    if len(layers) > 1:
        for k in (1, 5, 10):
            joint = layered_recall(truth, tables, k, ties)
            for label in ("every", "some", "mean", "depth_gap"):
                found[f"{label}@{k}"] = Entry(value=float(getattr(joint, label)))
        if np.isfinite(joint.consistency):
            found["consistency"] = Entry(value=float(joint.consistency))
    chance = {f"R@{k}": min(1.0, k / gallery) for k in (1, 5, 10)}
    return Scored(found, queries, baselines={"chance": chance})


def _directions(truth: np.ndarray, table: np.ndarray, end: str, ties: Any) -> Entries:
    found: Entries = {}
    both: Sequence[tuple[str, np.ndarray]] = [("", table)]
    if table.shape[0] == table.shape[1] and (truth == np.arange(len(truth))).all():
        both = [("", table), ("_video_to_text", table.T)]
    for way, scores in both:
        for k in (1, 5, 10):
            found[f"R@{k}{end}{way}"] = entry(recall_at, truth, scores, k=k, ties=ties)
        found[f"mrr{end}{way}"] = entry(mrr, truth, scores, ties=ties)
        found[f"mean_rank{end}{way}"] = entry(mean_rank, truth, scores, ties=ties)
        found[f"median_rank{end}{way}"] = Entry(value=float(median_rank(truth, scores, ties)))
    return found

"""`affectus systems` and `affectus predict`: the published systems, listed and put to use."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from affectus.app.terminal import FAILED, print_json, print_table, say
from affectus.errors import ConfigError
from affectus.systems import registry
from affectus.systems.card import SystemCard
from affectus.types import Prediction


def show_systems(as_json: bool) -> None:
    """A row per system; needs no torch."""
    cards = registry.cards()
    if as_json:
        print_json([card.as_dict() for card in cards.values()])
        return
    rows = [(c.name, c.title, ", ".join(c.modalities), c.perspective, c.task, _best(c), c.weights)
            for c in cards.values()]  # fmt: skip
    print_table(("system", "title", "modalities", "perspective", "task", "published", "weights"), rows)


def show_system(name: str, as_json: bool) -> None:
    """Everything the card of one system says."""
    card = registry.card(name)
    if as_json:
        print_json(card.as_dict())
        return
    record = {k: v for k, v in card.as_dict().items() if k != "published" and v}
    print_table(("", card.name), [(k, _plain(v)) for k, v in record.items()], card.title)
    rows = [(p.corpus, p.protocol, p.metric, p.value, p.source) for p in card.published]
    if rows:
        print_table(("corpus", "protocol", "metric", "value", "source"), rows, "Published results")


def predict(name: str, weights: Path, media: Sequence[Path], out: Path | None, as_json: bool) -> int:
    """Predict files with a trained system; a file that cannot be read is named and the rest goes on."""
    from affectus import media as reading
    from affectus.systems.prediction import predict as run

    system = registry.load(name, weights)
    files = reading.find_media(list(media))
    if not files:
        raise ConfigError(", ".join(map(str, media)), "holds no media file")
    records, failed = [], []
    for found in run(system, files):
        if found.prediction is None:
            failed.append(found)
            say(f"error: {found.error}")
            continue
        records.append({"file": found.item, **_record(found.prediction)})
        if not as_json and out is None:
            label, score = found.prediction.top()
            dimensions = " ".join(f"{k} {v:+.2f}" for k, v in found.prediction.dimensions.items())
            print(f"{found.item}\t{label}\t{score:.3f}\t{dimensions}".rstrip())
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_suffix(out.suffix + ".partial")
        partial.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
        partial.replace(out)
        print(out, file=sys.stderr)
    elif as_json:
        print_json({"system": name, "predictions": records, "failed": [asdict(f) for f in failed]})
    return FAILED if failed else 0


def _record(prediction: Prediction) -> dict[str, Any]:
    scores = {label: round(float(score), 6) for label, score in zip(prediction.labels, prediction.scores, strict=True)}
    return {
        "perspective": prediction.perspective,
        "space": prediction.space,
        "label": prediction.top()[0],
        "scores": scores,
        "dimensions": {k: round(v, 6) for k, v in prediction.dimensions.items()},
    }


def _best(card: SystemCard) -> str:
    return " ".join(f"{p.corpus} {p.metric} {p.value:g}" for p in card.published[:1]) or "no number known"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k}: {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

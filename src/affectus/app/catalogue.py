"""`affectus models` and `affectus assets`: what is shipped and what is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from affectus import assets, models
from affectus.app.terminal import FAILED, error_line, print_json, print_table, say
from affectus.errors import AffectusError
from affectus.models import dialogue
from affectus.types import Card

#: Metrics worth a column of the overview, the first that a card has.
_HEADLINES = ("accuracy", "uar", "macro_f1", "pcc_valence")
#: Metrics of the README's table.
_COLUMNS = ("accuracy", "uar", "macro_f1", "pcc_valence", "pcc_arousal", "pcc_dominance")


def show_cards(as_json: bool) -> None:
    """A row per shipped model; a missing one is said, not hidden."""
    found: list[Card] = []
    for name in (*models.NAMES, *dialogue.NAMES):
        try:
            found.append(models.card(name))
        except AffectusError as error:
            say(f"warning: {error}")
    if as_json:
        print_json([asdict(card) for card in found])
        return
    rows = [(c.name, c.title, c.perspective, c.space, _headline(c), _metric(c, "ece"), c.n, _data(c)) for c in found]
    columns = ("model", "what it does", "perspective", "labels", "accuracy", "calibration error", "tested on", "data")
    print_table(columns, rows)


def show_card(name: str, as_json: bool) -> None:
    """Everything the card of one model says."""
    card = models.card(name)
    if as_json:
        print_json(asdict(card))
        return
    record = asdict(card)
    metrics = [(key, _metric(card, key)) for key in card.metrics]
    rows = [
        (key, _plain(value)) for key, value in record.items() if key not in ("metrics", "confusion", "files") and value
    ]
    print_table(("", card.name), rows, card.title)
    print_table(("metric", "value [95 % interval]"), metrics, f"Measured on {card.n} items")
    if card.confusion:
        cells = [(label, *row) for label, row in zip(card.labels, card.confusion, strict=False)]
        print_table(("true \\ said", *card.labels), cells, "Confusion")


def models_markdown() -> str:
    """The table of shipped models for the README, from their cards."""
    lines = [
        "| model | what it does | measured (95 % interval) | calibration error | n | size |",
        "|---|---|---|---|---|---|",
    ]
    for name in models.NAMES:
        try:
            card = models.card(name)
        except AffectusError:
            continue
        size = sum(path.stat().st_size for path in models.model_folder(name).glob("*.onnx")) / 1e6
        measured = "; ".join(f"{key.replace('_', ' ')} {_metric(card, key)}" for key in _COLUMNS if key in card.metrics)
        lines.append(f"| `{name}` | {card.title} | {measured} | {_metric(card, 'ece')} | {card.n} | {size:.1f} MB |")
    return "\n".join(lines)


def list_assets(as_json: bool) -> None:
    """A row per foreign file."""
    found = assets.list_assets()
    if as_json:
        print_json([asdict(status) for status in found])
        return
    rows = [
        (s.name, s.purpose, s.needed, f"{s.megabytes:.1f} MB", s.licence, "here" if s.present else "–") for s in found
    ]
    print_table(("asset", "purpose", "needed for", "download", "licence", "state"), rows)
    say(f"kept in {assets.cache_folder()}")


def get_assets(names: Sequence[str], everything: bool, refresh: bool) -> int:
    """Fetch assets one by one and say where they are; a failure does not stop the others."""
    wanted = list(names)
    if not wanted:
        kinds = ("analysis", "optional") if everything else ("analysis",)
        wanted = [status.name for status in assets.list_assets() if status.needed in kinds]
    failed = 0
    for name in wanted:
        try:
            print(f"{name}: {assets.get(name, refresh=refresh)}", flush=True)
        except AffectusError as error:
            say(error_line(error))
            failed += 1
    return FAILED if failed else 0


def verify_assets(names: Sequence[str]) -> int:
    """Check the assets named, or all that are here."""
    failed = 0
    for name in names or [status.name for status in assets.list_assets() if status.present]:
        try:
            print(f"{name}: intact, {assets.verify(name)}")
        except AffectusError as error:
            say(error_line(error))
            failed += 1
    return FAILED if failed else 0


def _headline(card: Card) -> str:
    name = next((n for n in _HEADLINES if n in card.metrics), "")
    return f"{name.replace('_', ' ')} {_metric(card, name)}" if name else "–"


def _metric(card: Card, name: str) -> str:
    entry = card.metrics.get(name) or {}
    value, low, high = (entry.get(key) for key in ("value", "low", "high"))
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")


def _data(card: Card) -> str:
    return ", ".join(str(entry.get("title") or entry.get("name", "")) for entry in card.data)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        if len(value) > 8 and not isinstance(value[0], str | Mapping):
            return f"{len(value)} numbers"
        return ", ".join(_plain(entry) for entry in value)
    return str(value)

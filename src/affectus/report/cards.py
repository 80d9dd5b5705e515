"""Model cards and the text about responsible use, at the end of every report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from affectus.report.markup import esc
from affectus.types import Card

USE = {
    "What this is": "Estimates of <b>perceived expression</b>: what a face, a voice or words would look or sound like "
    "to most observers. They say nothing certain about what somebody thinks, wants or is.",
    "How sure": "Scores are calibrated probabilities on the data named in the cards. Other cameras, languages, ages "
    "and cultures can shift them. Where the estimate is weak it is marked uncertain; where sources disagree, that is "
    "shown.",
    "Not for": "Decisions about a single person: hiring, grading, policing, diagnosis, credit, lie detection. "
    "Inferring emotions at work and in education is prohibited in the European Union (AI Act, Article 5), medical and "
    "safety uses aside; elsewhere people must be told. Ask for consent.",
    "Privacy": "Everything was computed on the machine that ran the analysis. This page loads nothing from the "
    "network and nobody is identified: tracks and speakers are numbered, not recognised. It holds small pictures of "
    "faces and what was said: share it with the care the recording needs.",
}


def cards_of(meta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The model cards of a timeline, whether stored as a list or by name, as cards or as mappings."""
    stored = meta.get("models") or []
    values: Sequence[Any] = list(stored.values()) if isinstance(stored, Mapping) else list(stored)
    return [dataclasses.asdict(c) if isinstance(c, Card) else c for c in values if isinstance(c, Card | Mapping)]


def use_section() -> str:
    """Responsible use in plain words."""
    items = "".join(f"<dt>{esc(title)}</dt><dd>{text}</dd>" for title, text in USE.items())
    return f'<section class="card use" id="use"><h2>Reading this responsibly</h2><dl>{items}</dl></section>\n'


def cards_section(meta: Mapping[str, Any]) -> str:
    """One card per model: accuracy with interval, calibration, data, licences, limits, confusion."""
    cards = cards_of(meta)
    if not cards:
        return ""
    body = "".join(map(_card, cards))
    return f'<section class="card" id="models"><h2>Models</h2><div class="models">{body}</div></section>\n'


def _card(card: Mapping[str, Any]) -> str:
    title = esc(card.get("title") or card.get("name") or "model")
    facts = {
        "task": " · ".join(str(card[k]) for k in ("modality", "task", "perspective", "space") if card.get(k)),
        "data": _corpora(card.get("data")),
        "split": _words(card.get("split")) + (f" (n = {card['n']:,})" if card.get("n") else ""),
        "chosen by": _words(card.get("selection")),
        "built on": _pairs(card.get("backbone")),
        "licence": _pairs(card.get("licence")),
        "speed": _pairs(card.get("speed")),
    }
    found = {name: esc(text) for name, text in facts.items()}
    found |= {"calibration": _numbers(card.get("calibration")), "compared with": _numbers(card.get("baselines"))}
    rows = "".join(f"<dt>{name}</dt><dd>{markup}</dd>" for name, markup in found.items() if markup)
    limits = "".join(f"<li>{esc(text)}</li>" for text in card.get("limits") or ())
    version = f" <small>{esc(card.get('name', ''))} {esc(card.get('version', ''))}</small>"
    return (
        f"<article><h3>{title}{version}</h3>{_metrics(card.get('metrics'))}<dl>{rows}</dl>"
        + (f"<h4>Known limits</h4><ul>{limits}</ul>" if limits else "")
        + _confusion(card)
        + "</article>\n"
    )


def _metrics(metrics: Any) -> str:
    """The numbers of a card as tiles: value and 95 % interval."""
    if not isinstance(metrics, Mapping):
        return ""
    tiles = []
    for name, entry in metrics.items():
        known = entry if isinstance(entry, Mapping) else {"value": entry}
        value, low, high = (known.get(k) for k in ("value", "low", "high"))
        if not isinstance(value, int | float):
            continue
        interval = f"<small>{low:.3f} to {high:.3f}</small>" if low is not None and high is not None else ""
        tiles.append(f"<li><span>{esc(str(name).replace('_', ' '))}</span><b>{value:.3f}</b>{interval}</li>")
    return f'<ul class="tiles" aria-label="Measured, with 95% interval">{"".join(tiles)}</ul>' if tiles else ""


def _confusion(card: Mapping[str, Any]) -> str:
    """The confusion matrix as a shaded table, rows are the true labels."""
    matrix, labels = card.get("confusion") or (), list(card.get("labels") or ())
    if not matrix or len(matrix) != len(labels):
        return ""
    head = "".join(f'<th scope="col"><span>{esc(label)}</span></th>' for label in labels)
    body = []
    for label, row in zip(labels, matrix, strict=True):
        total = max(sum(row), 1)
        cells = "".join(f'<td style="--v:{value / total:.2f}">{value}</td>' for value in row)
        body.append(f'<tr><th scope="row">{esc(label)}</th>{cells}</tr>')
    return (
        '<details><summary>Confusion matrix</summary><div class="wide"><table class="confusion"><thead><tr>'
        f'<th scope="col">true ↓ &nbsp; predicted →</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div></details>"
    )


def _words(value: Any) -> str:
    return str(value) if value else ""


def _pairs(value: Any) -> str:
    if not isinstance(value, Mapping):
        return _words(value)
    return " · ".join(f"{str(k).replace('_', ' ')}: {_short(v)}" for k, v in value.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return _pairs(value) if isinstance(value, Mapping) else str(value)


def _numbers(value: Any) -> str:
    """Pairs as markup; what is a table in itself stays closed until asked for."""
    if not isinstance(value, Mapping):
        return esc(_words(value))
    plain = {name: entry for name, entry in value.items() if not isinstance(entry, Mapping)}
    tables = "".join(
        f"<details><summary>{esc(str(name).replace('_', ' '))}</summary>{esc(_pairs(entry))}</details>"
        for name, entry in value.items()
        if isinstance(entry, Mapping)
    )
    return esc(_pairs(plain)) + tables


def _corpora(value: Any) -> str:
    """Corpora a model learnt from: title, part, licence, citation, whichever is known."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return _pairs(value)
    told = []
    for entry in value:
        if not isinstance(entry, Mapping):
            told.append(str(entry))
            continue
        part = f" ({entry['part']})" if entry.get("part") else ""
        rest = [str(entry[key]) for key in ("licence", "citation") if entry.get(key)]
        told.append(" · ".join([f"{entry.get('title') or entry.get('name', '')}{part}", *rest]))
    return "; ".join(told)

"""One colour per emotion, the same in lanes, curves, transcript and legend, for light and dark pages.

The colours are data (`palette.json`). They stay apart for the three kinds of colour blindness (smallest distance in
OKLab over all pairs is tested) and stand out from the page; words always stand beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Theme = Literal["light", "dark"]


@cache
def _data() -> dict[str, Any]:
    record: dict[str, Any] = json.loads(files(__package__).joinpath("palette.json").read_text(encoding="utf-8"))
    return record


@cache
def _members() -> dict[str, str]:
    families = _data()["families"]
    return {word: name for name, entry in families.items() for word in (name, *entry["also"])}


def family(label: str) -> str:
    """The emotion family whose colour a label of any label space takes; `other` for words nobody listed."""
    return _members().get(label.strip().lower().replace("_", " "), "other")


def ordered(labels: Sequence[str]) -> list[str]:
    """Labels in the order in which they are stacked and listed: by family, then as given."""
    order = _data()["order"]
    return sorted(labels, key=lambda label: order.index(family(label)))


def colour(label: str, theme: Theme = "light") -> str:
    """Hex colour of a label."""
    value: str = _data()["families"][family(label)][theme]
    return value


def luminance(colour: str) -> float:
    """Relative luminance of a hex colour, 0…1 (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    """Contrast ratio of two hex colours, 1…21 (WCAG 2.2)."""
    dark, light = sorted([luminance(one), luminance(two)])
    return (light + 0.05) / (dark + 0.05)


def ink(background: str) -> str:
    """Black or white, whichever reads better on a background."""
    return max("#ffffff", "#0b0d10", key=lambda text: contrast(text, background))


@cache
def tokens(theme: Theme) -> dict[str, str]:
    """Colour tokens of plot specifications: `@anger`, `@text`, … and `@anger/band` for the pale band around a curve."""
    data = _data()
    found: dict[str, str] = {}
    for name, entry in (data["families"] | data["page"]).items():
        value = entry[theme]
        red, green, blue = (int(value[i : i + 2], 16) for i in (1, 3, 5))
        found[f"@{name}"] = value
        found[f"@{name}/band"] = f"rgba({red},{green},{blue},0.24)"
    return found


def resolve(spec: Any, theme: Theme) -> Any:
    """A plot specification with its colour tokens replaced."""
    if isinstance(spec, str):
        return tokens(theme).get(spec, spec)
    if isinstance(spec, Mapping):
        return {key: resolve(value, theme) for key, value in spec.items()}
    if isinstance(spec, list | tuple):
        return [resolve(value, theme) for value in spec]
    return spec


def css() -> str:
    """Custom properties for both themes (system wish or `data-theme`) and a class per family."""
    data = _data()

    def block(theme: Theme) -> str:
        names = {**data["families"], **data["page"]}
        lines = [f"--{name}:{entry[theme]};" for name, entry in names.items()]
        lines += [f"--on-{name}:{ink(entry[theme])};" for name, entry in data["families"].items()]
        return "".join([f"color-scheme:{theme};", *lines])

    classes = "".join(f".e-{name}{{--c:var(--{name});--on:var(--on-{name})}}" for name in data["families"])
    return (
        f":root{{{block('light')}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{block('dark')}}}}}\n"
        f":root[data-theme=dark]{{{block('dark')}}}\n"
        # Thrice the same selector: it must win over both rules above.
        f"@media print{{:root:root:root{{{block('light')}}}}}\n{classes}\n"
    )

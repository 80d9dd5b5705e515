"""AffectNet-mini: a face list with labels by name or number, in the form of NeuroGaze-Distill.

`labels_all.csv` names a picture and its class per line; `class_map_fer.json` (or any `class_map*.json`) gives the
numbers. Headers vary between copies, so several names are accepted. Which faces the subset holds is not published: the
list is the user's, and so are the pictures. Lists of CK+ in the same form can be read as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="affectnet_mini",
    title="AffectNet-mini (labels_all.csv)",
    modalities=("image",),
    perspective="expressed",
    licence="that of AffectNet, research use after a signed agreement",
    obtain="supplied by the user: labels_all.csv with picture paths and labels, and class_map_fer.json",
    size="as large as the list",
    layout="labels_all.csv, class_map_fer.json beside it or above, pictures where the list says",
    citation="NeuroGaze-Distill: brain-informed distillation for facial emotion recognition, 2025; faces: "
    "Mollahosseini et al., AffectNet, 2019",
    labels=orders("ekman8"),
)

_PATHS = ("image_path", "path", "img", "file", "filepath", "filename")
_NAMES = ("label_name", "class_name", "label_str")
_NUMBERS = ("label_id", "label", "cls", "class", "target", "y")


def _column(columns: list[str], known: tuple[str, ...]) -> str | None:
    lower = {c.lower(): c for c in columns}
    return next((lower[k] for k in known if k in lower), None)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Column `label:ekman8`, by name where the list has names, otherwise by the numbers of the class map."""
    refs = files.match("labels_all.csv")
    if not refs:
        raise CorpusError(files.root, "no labels_all.csv", INFO.obtain)
    numbers = _class_map(files)
    for ref in refs:
        columns = files.header(ref)
        path, name, number = (_column(columns, known) for known in (_PATHS, _NAMES, _NUMBERS))
        if path is None or (name is None and number is None):
            raise CorpusError(ref, "has no column of paths or of labels", f"expected one of {', '.join(_PATHS)}")
        if name is None and not numbers:
            raise CorpusError(ref, "has numbers only, and there is no class_map_fer.json", INFO.obtain)
        for line, row in files.records(ref):
            written = (
                row[name] if name else numbers.get(str(row[str(number)]).strip().removesuffix(".0"), row[str(number)])
            )
            label = notes.lookup("ekman8", written, ref, line)
            if label is not None:
                place = str(row[path]).replace("\\", "/")
                yield {"id": place, "split": SPLIT_NAMES.get(str(row.get("split") or "").lower()),
                       "media": _picture(files, ref, place), "label:ekman8": label}  # fmt: skip


def _class_map(files: Files) -> dict[str, str]:
    """Number → name; the file may be written either way round."""
    for ref in [*files.match("class_map_fer.json"), *files.match("class_map*.json")]:
        try:
            content = json.loads(files.text(ref))
        except json.JSONDecodeError as error:
            raise CorpusError(f"{ref}:{error.lineno}", f"not JSON ({error.msg})", "write it again") from None
        if isinstance(content, list):
            return {str(k): str(name) for k, name in enumerate(content)}
        return {str(k): str(v) for k, v in (pair if str(pair[0]).isdigit() else pair[::-1]
                                            for pair in content.items())}  # fmt: skip
    return {}


def _picture(files: Files, ref: str, place: str) -> str | None:
    """The file beside the list, or the one whose path ends alike; null for what lies outside the folder."""
    beside = files.beside(ref, place)
    tail = "/" + place.lstrip("./").lower()
    found = files.named(place.rpartition("/")[2])
    return beside or next((r for r in found if ("/" + files.logical[r].lower()).endswith(tail)), None)


def write_tiny(tiny: Tiny) -> None:
    """One face per class, labels by number."""
    order = INFO.labels["ekman8"]
    tiny.json("class_map_fer.json", {label: k for k, label in enumerate(order)})
    for k, label in enumerate(order):
        tiny.image(f"affmini/images/{k:04d}.png", label, 48)
    rows = [(f"images/{k:04d}.png", k) for k in range(len(order))]
    tiny.table("affmini/labels_all.csv", ("image_path", "label_id"), rows)

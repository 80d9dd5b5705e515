"""EmoSet: pictures with the emotion they evoke and six attributes (Yang et al. 2023).

`train.json`, `val.json`, `test.json` are lists of [emotion, id, picture path, annotation path] (some copies lack the
id). Annotations are flat JSON with brightness, colorfulness, scene, object, facial_expression, human_action, any of
which may be absent. `attributes` reads the vocabularies of `info.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import IMAGE_SUFFIXES

ATTRIBUTES = ("brightness", "colorfulness", "scene", "object", "facial_expression", "human_action")

INFO = CorpusInfo(
    name="emoset",
    title="EmoSet-118K",
    modalities=("image",),
    perspective="evoked",
    licence="annotations MIT (repository); pictures of public image sites, research use",
    obtain="links in the repository JingyuanYY/EmoSet (free, no form)",
    size="118,102 pictures, 26 GB",
    layout="info.json, train.json, val.json, test.json, image/<emotion>/*.jpg, annotation/<emotion>/*.json",
    citation="Yang, Huang, Ding, Lischinski, Cohen-Or, Huang: EmoSet: a large-scale visual emotion dataset with rich "
    "attributes, ICCV 2023",
    labels=orders("mikels8"),
    counts={"train": 94481, "valid": 5905, "test": 17716},
    needs_media=True,
)

_LISTS = {"train.json": "train", "val.json": "valid", "test.json": "test"}


def attributes(files: Files) -> dict[str, dict[str, int]]:
    """Vocabulary of the emotion and of each attribute: label → published number, from `info.json`."""
    for ref in files.match("info.json"):
        content = json.loads(files.text(ref))
        return {name: {str(k): int(v) for k, v in table["label2idx"].items()} for name, table in content.items()}
    raise CorpusError(files.root, "no info.json", INFO.obtain)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:mikels8` and `meta:` the six attributes."""
    found = False
    for name, split in _LISTS.items():
        for ref in files.match(name):
            try:
                rows = json.loads(files.text(ref))
            except json.JSONDecodeError as error:
                notes.error(ref, error.lineno, f"not JSON ({error.msg})", "fetch the file again")
                continue
            found = True
            for number, row in enumerate(rows, 1):
                if not isinstance(row, list) or len(row) < 3:
                    notes.error(ref, number, "row is not [emotion, id, picture, annotation]", "fetch the file again")
                    continue
                label = notes.lookup("mikels8", row[0], ref, number)
                if label is not None:
                    yield {"split": split, "label:mikels8": label, **_item(files, ref, row, notes)}
    if not found:
        raise CorpusError(files.root, "none of train.json, val.json, test.json is there", INFO.obtain)


def _item(files: Files, ref: str, row: list, notes: Notes) -> dict[str, Any]:
    paths = [str(cell) for cell in row[1:] if "/" in str(cell)]
    picture = next((p for p in paths if files.suffix(p) in IMAGE_SUFFIXES), "")
    written = next((p for p in paths if p.endswith(".json")), "")
    item: dict[str, Any] = {"id": files.stem(picture or str(row[1])), "media": files.beside(ref, picture)}
    annotation = files.beside(ref, written) if written else None
    content: dict[str, Any] = {}
    if annotation is not None:
        try:
            content = json.loads(files.text(annotation))
        except json.JSONDecodeError as error:
            notes.error(annotation, error.lineno, f"not JSON ({error.msg})", "fetch the annotations again")
    for name in ATTRIBUTES:
        value = content.get(name)
        if name == "object":
            item[f"meta:{name}"] = (
                None if value is None else [str(v) for v in (value if isinstance(value, list) else [value])]
            )
        elif name in ("brightness", "colorfulness"):
            item[f"meta:{name}"] = None if value is None else float(value)
        else:
            item[f"meta:{name}"] = None if value is None else str(value)
    return item


def numbered(name: str, values: list[Any], numbers: dict[str, int], count: int) -> dict[str, np.ndarray]:
    """Targets of an attribute as its published loader gives them, by batch key.

    `values` are a column of the table, `numbers` its vocabulary (label → number). Single labels become numbers, -1
    where absent; `object` becomes zeros and ones `(rows, count)` with `object_known`, False for pictures on which
    nobody annotated objects. Raises `CorpusError` naming a value outside of the vocabulary.
    """
    words = [[] if v is None else [_key(x) for x in (v if isinstance(v, list) else [v])] for v in values]
    if unknown := sorted({w for row in words for w in row} - set(numbers)):
        raise CorpusError(name, f"value {unknown[0]!r} is not in info.json", "use the info.json of this annotation")
    if name != "object":
        return {name: np.array([numbers[row[0]] if row else -1 for row in words], np.int64)}
    hot = np.zeros((len(words), count), np.float32)
    for i, row in enumerate(words):
        hot[i, [numbers[w] for w in row]] = 1
    return {name: hot, "object_known": np.array([v is not None for v in values])}


def _key(value: Any) -> str:
    """Vocabulary key of a value: bins are strings with one decimal, also where they were written as integers."""
    return f"{value:.1f}" if isinstance(value, (int, float)) else str(value)


def write_tiny(tiny: Tiny) -> None:
    """Eight pictures per split with annotations, one of them without most attributes."""
    names = INFO.labels["mikels8"]
    both = {"label2idx": {n: i for i, n in enumerate(names)}, "idx2label": {str(i): n for i, n in enumerate(names)}}
    tiny.json("info.json", {"emotion": both, "brightness": {"label2idx": {"0.0": 0}, "idx2label": {"0": 0.0}}})
    for number, name in enumerate(_LISTS):
        rows = []
        for k, emotion in enumerate(names):
            item = f"{emotion}_{1000 * number + k:05d}"
            picture, annotation = f"image/{emotion}/{item}.jpg", f"annotation/{emotion}/{item}.json"
            tiny.image(picture, emotion, 32)
            content: dict[str, Any] = {"image_id": item, "emotion": emotion, "brightness": 0.5}
            if k:
                content |= {"scene": "beach", "object": ["Boat", "Person"], "facial_expression": "happy"}
            tiny.json(annotation, content)
            rows.append([emotion, item, picture, annotation])
        tiny.json(name, rows)

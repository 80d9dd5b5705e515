"""Reading of referring expressions in the layout that SeqTR and SimVG share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

Box = list[float]


def read_instances(files: Files, notes: Notes, facts: CorpusInfo, folder: str) -> Iterator[dict[str, Any]]:
    """One row per expression; boxes are `[x, y, width, height]` in pixels and must lie within the picture.

    Where the publisher lists several targets per expression, `meta:boxes` holds them, none where there is no target;
    otherwise `meta:box` holds the one.
    """
    refs = files.match(f"{folder}/instances.json")
    if not refs:
        raise CorpusError(files.root, f"no data/annotations/{folder}/instances.json", facts.obtain)
    for ref in refs[:1]:
        try:
            content = json.loads(files.text(ref))
        except json.JSONDecodeError as error:
            notes.error(ref, error.lineno, f"not JSON ({error.msg})", "fetch the file again")
            return
        for part, records in content.items():
            for number, record in enumerate(records, 1):
                yield from _rows(files, notes, record, ref, part, number)


def _rows(
    files: Files, notes: Notes, record: dict[str, Any], ref: str, part: str, number: int
) -> Iterator[dict[str, Any]]:
    image = int(record["image_id"])
    wide, high = record.get("width", 0), record.get("height", 0)
    pictures = files.named(f"COCO_train2014_{image:012d}.jpg")
    single = _is_box(record.get("bbox"))
    for k, expression in enumerate(record["expressions"]):
        boxes = [record["bbox"]] if single else _targets(record, k)
        if boxes is None or not all(_inside(box, wide, high) for box in boxes):
            notes.error(ref, number, f"{part}: box {record.get('bbox')} is not within {wide}×{high}")
            return
        found = [[float(v) for v in box] for box in boxes]
        yield {
            "id": f"{part}/{number}_{k}",
            "split": "train" if part == "train" else "valid" if part.startswith("val") else "test",
            "media": pictures[0] if pictures else None,
            "text": expression,
            "group:image": str(image),
            **({"meta:box": found[0]} if single else {"meta:boxes": found}),
            "meta:width": wide,
            "meta:height": high,
            "meta:part": part,
        }


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(v, (int, float)) for v in value)


def _targets(record: dict[str, Any], k: int) -> list[Box] | None:
    """Boxes of the targets of the `k`-th expression, without those of category -1; None where they are malformed."""
    try:
        boxes, notes = (v if isinstance(v, list) else [v] for v in (record["bbox"][k], record["annotations"][k]))
    except (KeyError, IndexError, TypeError):
        return None
    boxes = [boxes] if _is_box(boxes) else boxes
    kept = [box for box, note in zip(boxes, notes, strict=False) if note.get("category_id") != -1]
    return kept if all(map(_is_box, kept)) else None


def _inside(box: Any, wide: float, high: float) -> bool:
    """Boxes were rounded outwards, so a pixel of excess is usual."""
    if not _is_box(box):
        return False
    x, y, width, height = box
    return width > 0 and height > 0 and x >= -1 and y >= -1 and x + width <= wide + 1 and y + height <= high + 1


def write_tiny_instances(tiny: Tiny, folder: str) -> None:
    """Two objects per split, two expressions for the first."""
    content: dict[str, list] = {}
    for number, part in enumerate(("train", "val", "test") if "umd" in folder else ("train", "val", "testA", "testB")):
        image = 9 + number
        tiny.image(f"data/images/mscoco/train2014/COCO_train2014_{image:012d}.jpg", "neutral", 64)
        base = {"image_id": image, "width": 64, "height": 64, "category_id": 1}
        content[part] = [
            {**base, "bbox": [4.0, 5.5, 20.0, 30.0], "expressions": ["left man", "man in red"]},
            {**base, "bbox": [30.0, 0.0, 34.0, 64.5], "expressions": ["the dog"]},
        ]
    tiny.json(f"data/annotations/{folder}/instances.json", content)

"""Reading of referring expressions in the layout that SeqTR and SimVG share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError


def read_instances(files: Files, notes: Notes, facts: CorpusInfo, folder: str) -> Iterator[dict[str, Any]]:
    """One row per expression; boxes are `[x, y, width, height]` in pixels and must lie within the picture."""
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
            split = "train" if part == "train" else "valid" if part.startswith("val") else "test"
            for number, record in enumerate(records, 1):
                x, y, width, height = record.get("bbox", (0, 0, 0, 0))
                wide, high = record.get("width", 0), record.get("height", 0)
                # boxes were rounded outwards, so a pixel of excess is usual
                if width <= 0 or height <= 0 or x < -1 or y < -1 or x + width > wide + 1 or y + height > high + 1:
                    notes.error(ref, number, f"{part}: box {record.get('bbox')} is not within {wide}×{high}")
                    continue
                image = int(record["image_id"])
                pictures = files.named(f"COCO_train2014_{image:012d}.jpg")
                for k, expression in enumerate(record["expressions"]):
                    yield {
                        "id": f"{part}/{number}_{k}",
                        "split": split,
                        "media": pictures[0] if pictures else None,
                        "text": expression,
                        "group:image": str(image),
                        "meta:box": [float(v) for v in (x, y, width, height)],
                        "meta:width": wide,
                        "meta:height": high,
                        "meta:part": part,
                    }


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

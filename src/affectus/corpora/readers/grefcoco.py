"""gRefCOCO: expressions for any number of objects of a photograph, several or none (Liu et al. 2023).

`data/annotations/grefcoco/instances.json` is laid out as that of RefCOCO, but `bbox` and `annotations` hold a list per
expression; an annotation of category -1 says that nothing is meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.readers._refexp import read_instances
from affectus.corpora.synthetic import Tiny

INFO = CorpusInfo(
    name="grefcoco",
    title="gRefCOCO (any number of targets)",
    modalities=("image", "text"),
    perspective="expressed",
    licence="annotations: research use; pictures: COCO terms",
    obtain="annotation archive of SimVG (free, no form); pictures: COCO train2014",
    size="278,232 expressions, 80,022 of them for several objects, 32,202 for none",
    layout="data/annotations/grefcoco/instances.json, data/images/mscoco/train2014/COCO_train2014_*.jpg",
    citation="Liu, Ding, Jiang: GRES: generalized referring expression segmentation, CVPR 2023",
    leaks={
        "text": "short expressions recur for other objects",
    },
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text` (one row per expression), `meta:` boxes (none, one or several), width, height, part."""
    return read_instances(files, notes, INFO, "grefcoco*")


def write_tiny(tiny: Tiny) -> None:
    """One picture per split with an expression for one object, for two and for none."""
    content = {}
    one, two = [4.0, 5.5, 20.0, 30.0], [30.0, 0.0, 34.0, 64.5]
    for number, part in enumerate(("train", "val", "testA", "testB")):
        image = 20 + number
        tiny.image(f"data/images/mscoco/train2014/COCO_train2014_{image:012d}.jpg", "neutral", 64)
        content[part] = [
            {
                "image_id": image, "width": 64, "height": 64,
                "expressions": ["left man", "both of them", "the purple cow"],
                "bbox": [[one], [one, two], [[0.0, 0.0, 0.0, 0.0]]],
                "annotations": [[{"category_id": 1}], [{"category_id": 1}] * 2, [{"category_id": -1}]],
            }
        ]  # fmt: skip
    tiny.json("data/annotations/grefcoco/instances.json", content)

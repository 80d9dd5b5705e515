"""RefCOCO+ (no words of place): expressions that single out one object of a photograph, with its box.

`data/annotations/refcocoplus-unc/instances.json` maps split names to records `image_id, width, height, bbox [x, y, w,
h], expressions`. Splits: val, testA (people), testB (other things).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.readers._refexp import read_instances, write_tiny_instances
from affectus.corpora.synthetic import Tiny

INFO = CorpusInfo(
    name="refcocoplus",
    title="RefCOCO+ (no words of place)",
    modalities=("image", "text"),
    perspective="expressed",
    licence="annotations: Apache-2.0; pictures: COCO terms",
    obtain="annotation archive of SimVG or SeqTR (free, no form); pictures: COCO train2014",
    size="141,564 expressions for 49,856 objects",
    layout="data/annotations/refcocoplus-unc/instances.json, data/images/mscoco/train2014/COCO_train2014_*.jpg",
    citation="Yu, Poirson, Yang, Berg, Berg: Modeling context in referring expressions, ECCV 2016; Mao et al.: "
    "Generation and comprehension of unambiguous object descriptions, CVPR 2016",
    leaks={
        "text": "short expressions recur for other objects",
    },
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text` (one row per expression), `meta:` box, width, height, part, `group:image`."""
    return read_instances(files, notes, INFO, "refcocoplus-*")


def write_tiny(tiny: Tiny) -> None:
    """Two objects per split."""
    write_tiny_instances(tiny, "refcocoplus-unc")

"""MVEI: statements about the emotions of a picture that are correct or not (INSETS, 2025).

`MVEI_metadata.json` is a list of `{image_id, ov_emotion, statement_list: [{statement, label, class, subclass}]}`;
pictures are those of EmoSet (`images/<class>/<class>_<id>.jpg`). One row is one statement.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

KINDS = ("sentiment polarity", "emotion interpretation", "scene context", "perception subjectivity")

INFO = CorpusInfo(
    name="mvei",
    title="MVEI",
    modalities=("image", "text"),
    perspective="evoked",
    licence="as the data set page states; pictures: EmoSet",
    obtain="model hub, data set wudq/MVEI (free): images.zip and MVEI_metadata.json",
    size="3,086 statements on 3,086 pictures",
    layout="MVEI_metadata.json, images/contentment/contentment_14236.jpg …",
    citation="Multimodal visual emotion interpretation benchmark (MVEI) with INSETS, 2025",
    counts={"test": 3086},
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text` (the statement), `meta:correct`, `meta:kind`, `meta:subkind`, `labels:openset`, `group:image`."""
    refs = files.match("MVEI_metadata.json")
    if not refs:
        raise CorpusError(files.root, "no MVEI_metadata.json", INFO.obtain)
    try:
        items = json.loads(files.text(refs[0]))
    except json.JSONDecodeError as error:
        raise CorpusError(f"{refs[0]}:{error.lineno}", f"not JSON ({error.msg})", "fetch the file again") from None
    for number, item in enumerate(items, 1):
        name = str(item.get("image_id", ""))
        for k, statement in enumerate(item.get("statement_list", ())):
            verdict, kind = str(statement.get("label")).lower(), statement.get("class")
            if verdict not in ("correct", "incorrect") or kind not in KINDS:
                notes.error(
                    refs[0], number, f"verdict {verdict!r} or class {kind!r} is unknown", "fetch the file again"
                )
                continue
            yield {
                "id": f"{name}#{k}",
                "split": "test",
                "media": next(iter(files.named(name.rpartition("/")[2])), None),
                "text": statement["statement"],
                "group:image": name,
                "labels:openset": [str(w) for w in item.get("ov_emotion", ())],
                "meta:correct": verdict == "correct",
                "meta:kind": kind,
                "meta:subkind": statement.get("subclass"),
            }


def write_tiny(tiny: Tiny) -> None:
    """Two pictures with two statements each."""
    items = []
    for k in range(2):
        name = f"awe/awe_{k:05d}.jpg"
        tiny.image(f"images/{name}", "surprise", 48)
        statements = [
            {"statement": f"It evokes awe {i}.", "label": ("correct", "incorrect")[i], "class": KINDS[2 * k + i],
             "subclass": "none"} for i in range(2)
        ]  # fmt: skip
        items.append({"image_id": name, "ov_emotion": ["awe", "calm"], "statement_list": statements})
    tiny.json("MVEI_metadata.json", items)

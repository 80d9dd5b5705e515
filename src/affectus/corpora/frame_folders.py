"""Clips published as folders of frames with boxes of faces and bodies: only the wanted frames are decoded and cut."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from affectus.corpora.corpus import Corpus
from affectus.errors import CorpusError, MediaError
from affectus.features.boxes import BoxStore, crop
from affectus.media import read_image
from affectus.media.files import IMAGE_SUFFIXES


class FrameFolders:
    """Frames of a corpus whose media are folders. Face boxes come from its `*face*.json` files, body boxes from the
    column `meta:body_box`; a frame without a box is taken whole."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        content: dict[str, Any] = {}
        for ref in corpus.files.match("*face*.json"):
            try:
                content |= json.loads(corpus.files.text(ref))
            except (ValueError, TypeError) as error:
                raise CorpusError(ref, "is no JSON mapping of folders to boxes", "fetch it again") from error
        self.face_boxes = BoxStore(content)
        self._refs: dict[int, list[str]] = {}

    def refs(self, row: int) -> list[str]:
        """References of a clip's frames in the order of their names; raises MediaError when there are none."""
        if row not in self._refs:
            files = self.corpus.files
            found = [r for r in files.inside(self.corpus.media(row)) if files.suffix(r) in IMAGE_SUFFIXES]
            if not found:
                raise MediaError(self.corpus.media(row), "holds no frame")
            self._refs[row] = found
        return self._refs[row]

    def faces(self, row: int, positions: Sequence[int] | np.ndarray, margin: int = 20) -> list[np.ndarray]:
        """Face crops (RGB uint8) of the frames at `positions`, with `margin` pixels around the boxes."""
        refs, name = self.refs(row), str(self.corpus.table["id"][row].as_py())
        return [crop(self._decode(refs[i]), self.face_boxes.find(name, refs[i].rpartition("/")[2]), margin)
                for i in positions]  # fmt: skip

    def bodies(self, row: int, positions: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Body crops (RGB uint8) of the frames at `positions`."""
        refs = self.refs(row)
        known = "meta:body_box" in self.corpus.table.column_names
        box = self.corpus.table["meta:body_box"][row].as_py() if known else None
        return [crop(self._decode(refs[i]), box) for i in positions]

    def _decode(self, ref: str) -> np.ndarray:
        return read_image(ref, stream=io.BytesIO(self.corpus.files.read(ref)))

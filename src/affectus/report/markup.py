"""Small pieces of HTML. Everything that comes from outside goes through `esc`."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from affectus.report.view import View

#: Largest thumbnail (characters of its data URI) that is embedded.
THUMBNAIL_LIMIT = 120_000
_DATA_URI = re.compile(r"data:image/(?:jpeg|png|webp|gif);base64,[A-Za-z0-9+/=]+")
_TAGS = {"video": "video", "audio": "audio", "image": "img"}


def esc(text: object) -> str:
    """Text for element content and quoted attributes; control characters are dropped."""
    return html.escape(re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", "", str(text)))


def percent(value: float) -> str:
    """A probability as `62%`, a dash where unknown."""
    return f"{value:.0%}" if np.isfinite(value) else "–"


def thumbnail(view: View, track: int) -> str:
    """The data URI of a face, or nothing when there is none or it is no plain picture."""
    thumbnails = view.info.get("thumbnails")
    if not isinstance(thumbnails, Mapping):
        return ""
    uri = str(thumbnails.get(track) or thumbnails.get(str(track)) or "")
    return uri if len(uri) <= THUMBNAIL_LIMIT and _DATA_URI.fullmatch(uri) else ""


def media_tag(view: View, folder: Path) -> str:
    """A player (or the picture) where the recording can be reached from the folder of the report, else nothing."""
    tag = _TAGS.get(view.kind)
    if not tag or "\0" in view.file or not Path(view.file).is_file():
        return ""
    try:
        relative = os.path.relpath(Path(view.file).resolve(), folder.resolve())
    except ValueError:  # another drive
        return ""
    # `./` in front so that no name can be read as another scheme.
    source = "./" + quote(Path(relative).as_posix(), errors="surrogateescape")
    if tag == "img":
        return f'<img class="media" src="{source}" alt="The analysed picture" loading="lazy">'
    return f'<{tag} class="media" src="{source}" controls preload="metadata"></{tag}>'


def script_json(value: Any, name: str) -> str:
    """Data for the page script; `<` is written so that no text can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'<script type="application/json" id="{esc(name)}">{safe}</script>\n'


class Pool:
    """Number arrays of the plots, each stored once as base64 of little-endian float32."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._known: dict[bytes, int] = {}

    def pack(self, spec: Any) -> Any:
        """A plot specification with every array replaced by `{"$": index}`."""
        if isinstance(spec, np.ndarray):
            data = np.ascontiguousarray(spec, "<f4")
            key = data.tobytes() + bytes([data.ndim])
            if key not in self._known:
                self._known[key] = len(self.entries)
                entry: dict[str, Any] = {"b": base64.b64encode(data.tobytes()).decode()}
                self.entries.append(entry | ({"w": data.shape[1]} if data.ndim == 2 else {}))
            return {"$": self._known[key]}
        if isinstance(spec, Mapping):
            return {key: self.pack(value) for key, value in spec.items()}
        if isinstance(spec, list | tuple):
            return [self.pack(value) for value in spec]
        return spec

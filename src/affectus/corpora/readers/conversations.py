"""Conversations about pictures, videos and recordings: the JSON lists that multimodal language models are tuned on.

Two dialects are read. Emotion-Qwen: `{id, image | video: path, conversations: [{role: user | assistant, content}]}`,
where `image` may map placeholders to several paths. HumanOmni: `{video: path, audio: path or null, conversations:
[{from: human | gpt, value}]}`. Placeholders (`<image>`, `<video>`, `<audio>`, `<face>`) are taken out of the texts,
since prompts have their own. Every answer is one row; what was said before it is its history.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="conversations",
    title="Conversations about media (instruction files)",
    modalities=("video", "image", "audio", "text"),
    perspective="expressed",
    licence="that of the file at hand",
    obtain="any JSON list in the fine-tuning format of Emotion-Qwen or HumanOmni, with its media beside it",
    size="as the files at hand",
    layout="*.json: a list of {id, image or video, conversations}; media below the same folder",
    citation="formats: Emotion-Qwen (arXiv 2505.06685) and HumanOmni, public repositories",
)

_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}
_PLACES = re.compile(r"<(?:image|video|audio|face)(?:_?\d+)?>\s*", re.IGNORECASE)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `meta:question`, `meta:answer`, `meta:history`, `meta:task` (general or emotion, where items say so)."""
    found = False
    for ref in files.match("*.json"):
        try:
            items = json.loads(files.text(ref))
        except json.JSONDecodeError as error:
            notes.error(ref, error.lineno, f"not JSON ({error.msg})", "fetch the file again")
            continue
        for number, item in enumerate(items if isinstance(items, list) else (), 1):
            if isinstance(item, dict) and "conversations" in item:
                found = True
                yield from _rows(files, notes, item, ref, number)
            elif found:
                notes.error(ref, number, "item has no conversations", "fetch the file again")
    if not found:
        raise CorpusError(files.root, "no json list with conversations", INFO.obtain)


def _rows(files: Files, notes: Notes, item: Mapping[str, Any], ref: str, number: int) -> Iterator[dict[str, Any]]:
    turns = _turns(item["conversations"])
    if turns is None or not any(role == "assistant" for role, _ in turns):
        notes.error(ref, number, "a turn has no known role and text, or there is no answer", "user and assistant turns")
        return
    paths = _paths(item)
    media = next((r for path in paths for r in files.named(path.replace("\\", "/").rpartition("/")[2])), None)
    if paths and media is None:
        notes.warn(ref, number, f"{paths[0]} is not there", "put the media below the same folder")
    if len(paths) > 1:
        notes.warn(ref, number, f"has {len(paths)} files; the first one is used")
    name, split = str(item.get("id") or f"{files.stem(ref)}/{number}"), files.stem(ref).lower()
    answers = [place for place, (role, _) in enumerate(turns) if role == "assistant"]
    for turn, place in enumerate(answers):
        asked = turns[place - 1][1] if place and turns[place - 1][0] == "user" else ""
        before = [f"{role}: {text}" for role, text in turns[: max(0, place - 1)] if role != "system"]
        yield {
            "id": name if len(answers) == 1 else f"{name}#{turn + 1}",
            "split": next((known for part, known in SPLIT_NAMES.items() if part in split), None),
            "media": media,
            "group:media": paths[0] if paths else name,
            "meta:question": asked,
            "meta:answer": turns[place][1],
            "meta:history": "\n".join(before) or None,
            "meta:task": item.get("task"),
        }


def _turns(turns: Any) -> list[tuple[str, str]] | None:
    found = []
    for turn in turns if isinstance(turns, list) else [None]:
        given = turn if isinstance(turn, dict) else {}
        role = _ROLES.get(str(given.get("role") or given.get("from")))
        text = given.get("content") if "content" in given else given.get("value")
        if role is None or not isinstance(text, str):
            return None
        found.append((role, _PLACES.sub("", text).strip()))
    return found


def _paths(item: Mapping[str, Any]) -> list[str]:
    """Files of an item, the one to look at first."""
    found: list[str] = []
    for key in ("video", "image", "audio"):
        value = item.get(key)
        found += [str(v) for v in value.values()] if isinstance(value, dict) else [value] if value else []
    return found


def write_tiny(tiny: Tiny) -> None:
    """Both dialects: a picture with two questions, a video with one, a conversation without media."""
    tiny.json("train.json", [
        {"id": "0", "image": "images/a.png", "task": "general", "conversations": [
            {"role": "user", "content": "<image>\nWhat is drawn?"}, {"role": "assistant", "content": "A face."},
            {"role": "user", "content": "How does it look?"}, {"role": "assistant", "content": "Glad."}]},
        {"video": "videos/b.mp4", "audio": None, "conversations": [
            {"from": "human", "value": "<video>\n<audio>\nWhich emotion is it?"}, {"from": "gpt", "value": "anger"}]},
        {"id": "2", "conversations": [{"role": "user", "content": "Two and two?"},
                                      {"role": "assistant", "content": "Four."}]},
    ])  # fmt: skip
    tiny.image("images/a.png", "happiness")
    tiny.video("videos/b.mp4", "anger", 0.2)

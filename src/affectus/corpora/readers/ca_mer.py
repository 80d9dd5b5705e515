"""CA-MER: clips whose face and voice agree or disagree (MOSEAR, Han et al. 2025).

`video-aligned.json`, `audio-aligned.json` and `consistent.json` are lists of items with `file_name` and labels; the
clips lie in folders of the same names. In the first set the label of the picture alone is that of the whole clip, in
the second that of the sound alone, in the third all three agree. Only `file_name` is certain from published code, so
the joint label and the two partial ones are looked for under several names, each a word or a list of words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._mer import LICENCE
from affectus.corpora.readers.ov_merd import word_list
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import VIDEO_SUFFIXES

SUBSETS = ("video-aligned", "audio-aligned", "consistent")

INFO = CorpusInfo(
    name="ca_mer",
    title="CA-MER",
    modalities=("video", "audio", "text"),
    perspective="expressed",
    licence=LICENCE,
    obtain="request to the authors of MOSEAR; the clips are those of MER2023 under its agreement",
    size="1,500 clips, 500 per subset",
    layout="video-aligned.json, audio-aligned.json, consistent.json; video-aligned/<file_name>.avi …",
    citation="Han, Zhu, Xu, Song, Yang: Benchmarking and bridging emotion conflicts for multimodal emotion reasoning, "
    "ACM MM 2025",
    labels=orders("merr9"),
    counts={"test": 1500},
)

_KEYS: dict[str, tuple[str, ...]] = {
    "joint": ("label", "labels", "emotion", "emotions", "av_label", "multimodal_label", "joint_label", "gt", "q_av"),
    "video": ("video_label", "video_labels", "visual_label", "v_label", "video", "visual", "q_v"),
    "audio": ("audio_label", "audio_labels", "a_label", "audio", "q_a"),
}
_WORDS = ("subtitle", "transcript", "text", "sentence")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `labels:merr9`, `label:merr9` (where it is one), `meta:` subset, video_labels, audio_labels."""
    found = False
    for subset in SUBSETS:
        for ref in files.match(f"{subset}.json"):
            found = True
            try:
                items = json.loads(files.text(ref))
            except json.JSONDecodeError as error:
                notes.error(ref, error.lineno, f"not JSON ({error.msg})", "fetch the file again")
                continue
            for number, item in enumerate(items.values() if isinstance(items, dict) else items, 1):
                if not isinstance(item, dict) or not item.get("file_name"):
                    notes.error(ref, number, "item has no file_name", "fetch the file again")
                    continue
                yield _row(files, item, subset, ref, number, notes)
    if not found:
        raise CorpusError(files.root, "none of video-aligned.json, audio-aligned.json, consistent.json", INFO.obtain)


def _row(files: Files, item: Mapping[str, Any], subset: str, ref: str, number: int, notes: Notes) -> dict[str, Any]:
    name = str(item["file_name"]).rpartition("/")[2]
    stem = name.rpartition(".")[0] if name.lower().endswith(tuple(VIDEO_SUFFIXES)) else name
    clips = files.named(stem, VIDEO_SUFFIXES)
    own = [r for r in clips if files.folders(r)[0] == subset]
    known = {part: _labels(item, part, ref, number, notes) for part in _KEYS}
    joint = known["joint"]
    return {
        "id": f"{subset}/{stem}",
        "split": "test",
        "media": next(iter(own or clips), None),
        "text": next((str(item[k]) for k in _WORDS if item.get(k)), None),
        "group:clip": stem,
        "label:merr9": joint[0] if joint and len(joint) == 1 else None,
        "labels:merr9": joint,
        "meta:subset": subset,
        "meta:video_labels": known["video"],
        "meta:audio_labels": known["audio"],
    }


def _labels(item: Mapping[str, Any], part: str, ref: str, number: int, notes: Notes) -> list[str] | None:
    value = next((item[k] for k in _KEYS[part] if item.get(k)), None)
    if value is None:
        return None
    if isinstance(value, str):
        if value.lower().endswith(tuple(VIDEO_SUFFIXES)):  # some copies keep the path of the clip under `video`
            return None
        value = word_list(value) or value.replace(";", ",").split(",")
    listed = [notes.lookup("merr9", str(word).strip(), ref, number) for word in value]
    return list(dict.fromkeys(label for label in listed if label is not None))


def check(files: Files, table: Any, notes: Notes) -> None:
    """The labels of each clip fit the subset it is in, and every subset is there."""
    subsets = table["meta:subset"].to_pylist()
    for missing in set(SUBSETS) - set(subsets):
        notes.warn(f"{missing}.json", 0, "subset is missing", "print no mean over subsets without it")
    columns = [table[c].to_pylist() for c in ("id", "labels:merr9", "meta:video_labels", "meta:audio_labels")]
    for subset, name, joint, video, audio in zip(subsets, *columns, strict=True):
        if not joint:
            notes.warn(str(name), 0, "has no label of the whole clip", f"known keys are {', '.join(_KEYS['joint'])}")
            continue
        agrees = (not video or bool({*video} & {*joint}), not audio or bool({*audio} & {*joint}))
        wanted = {"video-aligned": (True, not audio), "audio-aligned": (not video, True), "consistent": (True, True)}
        if agrees != wanted[subset]:
            notes.error(str(name), 0, f"labels {joint} / {video} / {audio} do not fit {subset}", "fetch the file again")


def write_tiny(tiny: Tiny) -> None:
    """Two clips per subset."""
    sets = {
        "video-aligned": (("happy", "happy", "angry"), ("sad", "sad", "neutral")),
        "audio-aligned": (("worry", "neutral", "worried"), ("surprise", "happy", "surprised")),
        "consistent": (("fear", "fear", "fear"), ("contempt", "contempt", "contempt")),
    }
    for part, (subset, items) in enumerate(sets.items()):
        rows = []
        for k, (joint, video, audio) in enumerate(items):
            name = f"sample_{2 * part + k:08d}"
            rows.append({"file_name": name, "label": joint, "video_label": video, "audio_label": audio,
                         "subtitle": tiny.text()})  # fmt: skip
        tiny.json(f"{subset}.json", rows)
        tiny.video(f"{subset}/sample_{2 * part:08d}.avi", "neutral", 0.2)

"""EmotionTalk: acted two-person conversations in Chinese with four labels per utterance (2025).

Every utterance was judged from everything together and from sound, text and picture alone; `label:emotiontalk7` is the
joint judgement, `meta:audio_label`, `meta:text_label`, `meta:video_label` the others. Sentiment is the mean of five
raters on -2…2. Names are G<group>_<session>_<speaker>_<utterance>; the split is by group, yet speakers 02 and 13 are in
validation and test. Transcripts carry markup of overlaps and sounds, which `clean` removes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders, rescale
from affectus.corpora.files import Files
from affectus.corpora.readers._labels_npz import Entry, entries
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import AUDIO_SUFFIXES, VIDEO_SUFFIXES

INFO = CorpusInfo(
    name="emotiontalk",
    title="EmotionTalk",
    modalities=("text", "audio", "video"),
    perspective="expressed",
    licence="CC BY-NC-SA 4.0",
    obtain="label archives and transcripts: repository NKU-HLT/EmotionTalk; media: model hub, BAAI/Emotiontalk",
    size="19,250 utterances, 23.6 hours, 19 actors",
    layout="mm_label.npz, audio_label.npz, txt_label.npz, video_label.npz, transcription.csv; Multimodal/mp4/**/*.mp4, "
    "else Audio/wav/**/*.wav",
    citation="EmotionTalk: an interactive Chinese multimodal emotion dataset with rich annotations, 2025",
    labels=orders("emotiontalk7"),
    units={"sentiment": "-2…2, mean of five raters"},
    counts={"train": 15413, "valid": 1908, "test": 1929},
    leaks={
        "text": "stock sentences recur across sessions",
    },
)

_ASPECTS = {"speaker": ("speaker", "说话人"), "style": ("style", "风格"), "emotion": ("emotion", "情感", "情绪"),
            "overall": ("overall", "caption", "整体")}  # fmt: skip
_SIDES = {"audio": "audio_label.npz", "text": "txt_label.npz", "video": "video_label.npz"}


def clean(transcript: str) -> str:
    """The words without markup tags, malformed ones included; overlapped speech is kept."""
    return re.sub(r"\[[^\[\]]*\]|\[/?\w*/?|/?\w*\]", "", transcript).strip()


def captions(files: Files, notes: Notes) -> dict[str, dict[str, str]]:
    """Captions of the voice by name and aspect, from `sourceAttr` of `Audio/json`, where the folder has these files.

    The card of the corpus names the field and not its entries, so an entry counts for the aspect whose name it holds.
    """
    found: dict[str, dict[str, str]] = {}
    for ref in files.match("*.json"):
        if "Audio" not in files.folders(ref) or "json" not in files.folders(ref):
            continue
        try:
            given = json.loads(files.text(ref)).get("sourceAttr")
        except (ValueError, AttributeError):
            notes.error(ref, 0, "is no JSON record of an utterance", "fetch the archive again")
            continue
        entries = given.items() if isinstance(given, dict) else [("overall", given)]
        known = {a: str(text) for key, text in entries for a, words in _ASPECTS.items()
                 if text and any(word in str(key).lower() for word in words)}  # fmt: skip
        if known:
            found[files.stem(ref)] = known
    return found


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:emotiontalk7`, `dim:sentiment`, `text`, `meta:*_label`, `group:` dialogue, session, speaker, and
    `meta:caption_*` where the folder has captions."""
    joint = files.match("mm_label.npz")
    if not joint:
        raise CorpusError(files.root, "no mm_label.npz", INFO.obtain)
    words: dict[str, str] = {}
    for ref in files.match("transcription.csv"):
        words |= {row["name"].rpartition("/")[2]: row["chinese"] or "" for _, row in files.records(ref)}
    alone: dict[str, dict[str, str | None]] = {}
    for side, name in _SIDES.items():
        for ref in files.match(name)[:1]:
            found = entries(files, ref, notes)
            alone[side] = {e.name: notes.decode("emotiontalk7", e.emo, ref, e.row) for e in found}
    told = list(entries(files, joint[0], notes))
    for name, held in (("transcription.csv", set(words)), *((_SIDES[side], set(n)) for side, n in alone.items())):
        _same_release(name, held, {entry.name for entry in told}, notes)
    said = captions(files, notes)
    for entry in told:
        label = notes.decode("emotiontalk7", entry.emo, joint[0], entry.row)
        if label is not None:
            row = _row(files, entry, label, words.get(entry.name), joint[0], notes)
            if row is not None:
                heard = {f"meta:caption_{a}": said.get(entry.name, {}).get(a) for a in _ASPECTS} if said else {}
                yield row | heard | {f"meta:{side}_label": labels.get(entry.name) for side, labels in alone.items()}


def _same_release(name: str, held: set[str], wanted: set[str], notes: Notes) -> None:
    """Note a file that names other utterances than the joint labels: it would be read as "no label" throughout."""
    shared = len(held & wanted)
    if held and shared < len(wanted) / 2:
        reason = f"names {len(held)} utterances, of which {shared} are among the {len(wanted)} of mm_label.npz"
        notes.error(name, 0, f"{reason}: another release", "take all label files from one release")


def _row(
    files: Files, entry: Entry, label: str, words: str | None, ref: str, notes: Notes
) -> dict[str, Any] | None:  # fmt: skip
    parts = entry.name.split("_")
    if len(parts) != 4:
        notes.error(ref, entry.row, f"name {entry.name!r} is not G<group>_<session>_<speaker>_<utterance>")
        return None
    score = None if entry.val is None else notes.number(entry.val, -2, 2, "val", ref, entry.row)
    clips = files.named(entry.name, VIDEO_SUFFIXES) or files.named(entry.name, AUDIO_SUFFIXES)
    return {
        "id": entry.name,
        "split": entry.split,
        "media": clips[0] if clips else None,
        "text": None if words is None else clean(words),
        "speaker": parts[2],
        "group:dialogue": f"{parts[0]}_{parts[1]}",
        "group:session": parts[0],
        "group:speaker": parts[2],
        "label:emotiontalk7": label,
        "dim:sentiment": rescale(score, -2, 2),
        "raw:sentiment": score,
        "meta:transcript": words,
    }


def write_tiny(tiny: Tiny) -> None:
    """Two utterances per split with all four label archives and a transcript with markup."""
    names = {"train": "G00009_42_14_00", "val": "G00001_02_13_00", "test": "G00003_56_13_00"}
    for archive, shift in (("mm", 0), ("audio", 1), ("txt", 2), ("video", 3)):
        joint = archive == "mm"
        content = {
            f"{part}_corpus": {
                f"{stem}{k}": {"emo": (i + k + shift) % 7, "val": 0.2 * k - 0.4 if joint else -10} for k in range(2)
            }
            for i, (part, stem) in enumerate(names.items())
        }
        tiny.npz(f"{archive}_label.npz", content)
    rows = [
        ("/".join(("G", "s", f"{s}{k}")), "neutral", "[over/]还给他[/over]饭。[laughing]")
        for s in names.values()
        for k in (0, 1)
    ]
    tiny.table("transcription.csv", ("name", "emotion", "chinese"), rows)
    tiny.video("Multimodal/mp4/G00009/G00009_42/G00009_42_14/G00009_42_14_000.mp4")

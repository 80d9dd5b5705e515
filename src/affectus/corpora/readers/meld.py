"""MELD: multi-party dialogue from a TV series (Poria et al. 2019); text, and clips where the folder has them.

Dialogue and utterance numbers restart in each split, so ids carry the split: `dev/dia0_utt3`. Times are those within
the episode, while a clip starts at zero, so they are `meta:` columns. Older copies of the csv files hold control
characters of code page 1252 in place of punctuation; these are mended. Four clips cannot be decoded; they have no
`media`. `features` reads the published utterance features of the development split.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.safe import load_pickle
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="meld",
    title="MELD",
    modalities=("text", "audio", "video"),
    perspective="expressed",
    licence="GPL-3.0 (annotations); clips of a TV series, research use",
    obtain="repository declare-lab/MELD, folder data/MELD (csv); MELD.Raw.tar.gz for the clips (free, no form)",
    size="13,708 utterances in 1,433 dialogues; csv 2 MB, clips 10 GB",
    layout="train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv; clips in train_splits, dev_splits_complete, "
    "output_repeated_splits_test as dia0_utt0.mp4",
    citation="Poria, Hazarika, Majumder, Naik, Cambria, Mihalcea: MELD: a multimodal multi-party dataset for emotion "
    "recognition in conversations, ACL 2019",
    labels=orders("meld7", "sentiment3"),
    counts={"train": 9989, "valid": 1109, "test": 2610},
    archives=("MELD*.tar*", "train.tar*", "dev.tar*", "test.tar*"),
    leaks={
        "group:speaker": "the same people speak in all parts",
        "group:episode": "the published split deals dialogues, not episodes",
        "text": "short turns recur",
        "near text": "small changes of such turns",
    },
)

#: Clips that no decoder reads.
UNREADABLE = ("train/dia125_utt3", "dev/dia110_utt7", "test/dia38_utt4", "test/dia220_utt0")

_LISTS = (("train", "train"), ("dev", "valid"), ("test", "test"))
_CLIPS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
_CONTROLS = str.maketrans({chr(c): bytes([c]).decode("cp1252") for c in (0x85, 0x91, 0x92, 0x93, 0x94, 0x96, 0x97)})
_TIME = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})")


def mend(text: str) -> str:
    """Punctuation in place of the control characters of code page 1252, plain blanks in place of hard ones."""
    return text.translate(_CONTROLS).replace("\xa0", " ")


def seconds(clock: str | None) -> float | None:
    """Seconds of `H:MM:SS,mmm`, None for anything else."""
    if not (found := _TIME.fullmatch((clock or "").strip())):
        return None
    hours, minutes, whole, part = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(whole) + int(part.ljust(3, "0")) / 1000


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:meld7`, `label:sentiment3`, `group:` dialogue, speaker, episode, `meta:` turn, episode times."""
    found = False
    for name, split in _LISTS:
        clips = _clips(files, name)
        for ref in files.match(f"{name}_sent_emo.csv"):
            found = True
            for line, row in files.records(ref):
                if (filled := _row(row, name, ref, line, notes)) is not None:
                    media = None if filled["id"] in UNREADABLE else clips.get(filled["id"].partition("/")[2])
                    yield {**filled, "split": split, "media": media}
    if not found:
        raise CorpusError(files.root, "none of train_, dev_, test_sent_emo.csv is there", INFO.obtain)


def _clips(files: Files, name: str) -> dict[str, str]:
    return {files.stem(ref): ref for ref in files.match(f"{_CLIPS[name]}/dia*_utt*.mp4")}


def _row(row: dict[str, Any], name: str, ref: str, line: int, notes: Notes) -> dict[str, Any] | None:
    emotion = notes.lookup("meld7", row.get("Emotion"), ref, line)
    sentiment = notes.lookup("sentiment3", row.get("Sentiment"), ref, line)
    dialogue, turn = row.get("Dialogue_ID") or "", row.get("Utterance_ID") or ""
    if not dialogue.isdigit() or not turn.isdigit():
        notes.error(ref, line, f"dialogue {dialogue!r} or utterance {turn!r} is no number", "fetch the file again")
        return None
    start, end = seconds(row.get("StartTime")), seconds(row.get("EndTime"))
    if start is None or end is None:
        notes.error(ref, line, f"times {row.get('StartTime')!r}, {row.get('EndTime')!r} are not H:MM:SS,mmm")
        return None
    if emotion is None or sentiment is None:
        return None
    return {
        "id": f"{name}/dia{dialogue}_utt{turn}",
        "text": mend(row["Utterance"]),
        "speaker": mend(row["Speaker"]),
        "group:dialogue": f"{name}/dia{dialogue}",
        "group:speaker": mend(row["Speaker"]),
        "group:episode": f"s{int(row['Season']):02d}e{int(row['Episode']):02d}",
        "label:meld7": emotion,
        "label:sentiment3": sentiment,
        "meta:turn": int(turn),
        "meta:episode_start": start,
        "meta:episode_end": end,
    }


def features(files: Files, ids: list[str]) -> dict[str, np.ndarray]:
    """Published utterance features for rows of the development split, by name, each `(len(ids), width)` float32.

    `egemaps` from `opensmile_dev_features.csv` (joined by its `file` column) and every `*_val.pkl`, whose rows follow
    the csv without the unreadable clip. Rows without features are NaN.
    """
    found: dict[str, np.ndarray] = {}
    for ref in files.match("opensmile_dev_features.csv"):
        rows = list(csv.reader(io.StringIO(files.text(ref), newline="")))
        table = {f"dev/{r[-1].removesuffix('.wav')}": np.asarray(r[:-1], np.float32) for r in rows[1:]}
        found["egemaps"] = _joined(table, ids)
    order = [i for i in ids if i.startswith("dev/") and i not in UNREADABLE]
    for ref in files.match("*_val.pkl"):
        values = load_pickle(files.read(ref), ref)
        if len(values) != len(order):
            raise CorpusError(
                ref, f"holds {len(values)} rows for {len(order)} utterances", "give all rows of the split"
            )
        found[files.stem(ref).removesuffix("_val")] = _joined(dict(zip(order, values, strict=True)), ids)
    return found


def _joined(table: dict[str, np.ndarray], ids: list[str]) -> np.ndarray:
    width = len(next(iter(table.values())))
    missing = np.full(width, np.nan, np.float32)
    return np.stack([table.get(i, missing) for i in ids]).astype(np.float32)


_HEADER = (
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
    "StartTime", "EndTime",
)  # fmt: skip


def write_tiny(tiny: Tiny) -> None:
    """Two dialogues per split, the first with clips."""
    for name, _ in _LISTS:
        rows = []
        for k in range(6):
            emotion = INFO.labels["meld7"][k % 7]
            clock = [f"00:01:{5 * k + d:02d},25{d}" for d in (0, 3)]
            rows.append((k + 1, tiny.text(emotion) + " It\x92s", ("Joey", "Monica")[k % 2], emotion,
                         "neutral" if emotion == "neutral" else "negative", k // 3, k % 3, 4, 7, *clock))  # fmt: skip
            if k < 3:
                tiny.video(f"{_CLIPS[name]}/dia0_utt{k}.mp4", emotion)
        tiny.table(f"{name}_sent_emo.csv", _HEADER, rows)

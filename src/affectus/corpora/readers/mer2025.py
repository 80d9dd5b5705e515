"""MER2025: all tracks of the challenge in one table (Lian et al. 2025).

Track 1: `track1_train_disdim.csv` (name, discrete, valence) and, once released, `track1_test_dis.csv`. Tracks 2 and 3:
`track2_train_ovmerd.csv`, `track2_train_mercaptionplus.csv`, `track2_train_human.csv` (name, openset) with reasons in
`track3_train_*.csv` (name, reason). `track_all_candidates.csv` lists the 20,000 clips among which the test clips are.
A clip that several lists name is one row; `meta:lists` says which. The nested sets overlap: OV-MERD lies inside
OV-MERD+, and no candidate may be trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._mer import LICENCE, clip, subtitles
from affectus.corpora.readers.ov_merd import word_list
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="mer2025",
    title="MER2025 (all tracks)",
    modalities=("video", "audio", "text"),
    perspective="expressed",
    licence=f"CC BY-NC 4.0; {LICENCE}",
    obtain="model hub, data set MERChallenge/MER2025, after signing the agreement",
    size="132,171 clips: 7,369 with six emotions, 31,327 + 332 with free words, 20,000 candidates",
    layout="track1_train_disdim.csv, track2_train_*.csv, track3_train_*.csv, track_all_candidates.csv, "
    "subtitle_chieng.csv, video/<name>.mp4, audio/<name>.wav, openface_face/<name>/<name>.npy",
    citation="Lian et al.: MER 2025: when affective computing meets large language models, ACM MM 2025",
    labels=orders("mer6"),
    units={"valence": "-5…5"},
)

_WORDS = ("ovmerd", "mercaptionplus", "human")
_CANDIDATES = "track_all_candidates.csv"


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:mer6`, `raw:valence`, `labels:openset`, `text`, `meta:` reason, lists, chinese, `group:clip`."""
    rows: dict[str, dict[str, Any]] = {}
    _track1(files, notes, rows)
    for part in _WORDS:
        _words(files, notes, part, rows)
    for ref in files.match(_CANDIDATES):
        for _, cells in files.records(ref):
            _note(rows, cells.get("name"), "candidate")
    if not rows:
        raise CorpusError(files.root, "no track1_train_disdim.csv or other list of the tracks", INFO.obtain)
    spoken = subtitles(files)
    for name, row in rows.items():
        words = spoken.get(name, {})
        yield {
            "id": name,
            "split": row.pop("split", None),
            "media": clip(files, name),
            "text": words.get("english"),
            "group:clip": name,
            "label:mer6": row.pop("label", None),
            "raw:valence": row.pop("valence", None),
            "labels:openset": row.pop("openset", None),
            "meta:reason": row.pop("reason", None),
            "meta:lists": row["lists"],
            "meta:chinese": words.get("chinese"),
        }


def _note(rows: dict[str, dict[str, Any]], name: str | None, listed: str) -> dict[str, Any]:
    row = rows.setdefault(name or "", {"lists": []})
    row["lists"].append(listed)
    return row


def _track1(files: Files, notes: Notes, rows: dict[str, dict[str, Any]]) -> None:
    for pattern, split in (("track1_train_disdim.csv", "train"), ("track1_test_dis.csv", "test")):
        for ref in files.match(pattern):
            for line, cells in files.records(ref):
                label = notes.lookup("mer6", cells.get("discrete"), ref, line)
                if label is None or not cells.get("name"):
                    continue
                row = _note(rows, cells["name"], f"track1_{split}")
                row |= {"label": label, "split": split}
                if cells.get("valence"):
                    row["valence"] = notes.number(cells["valence"], -5, 5, "valence", ref, line)


def _words(files: Files, notes: Notes, part: str, rows: dict[str, dict[str, Any]]) -> None:
    for ref in files.match(f"track2_train_{part}.csv"):
        for line, cells in files.records(ref):
            listed = word_list(cells.get("openset"))
            if not cells.get("name") or listed is None:
                notes.error(ref, line, f"openset is {cells.get('openset')!r}, not a list of words", "fetch it again")
                continue
            row = _note(rows, cells["name"], part)
            row.setdefault("openset", listed)
            row.setdefault("split", "train")
    for ref in files.match(f"track3_train_{part}.csv"):
        for _, cells in files.records(ref):
            if cells.get("name") in rows:
                rows[cells["name"]].setdefault("reason", cells.get("reason"))


def check(files: Files, table: Any, notes: Notes) -> None:
    """No candidate of the test is in a training list."""
    trained = [
        name
        for name, listed in zip(table["id"].to_pylist(), table["meta:lists"].to_pylist(), strict=True)
        if "candidate" in listed and len(set(listed) - {"candidate", "track1_test"}) > 0
    ]
    if trained:
        reason = f"{len(trained)} candidates of the test are in training lists, such as {trained[0]}"
        notes.warn(_CANDIDATES, 0, reason, "leave them out of training")


def write_tiny(tiny: Tiny) -> None:
    """Six clips of track 1, three with free words and reasons, two candidates of which one has become a test clip."""
    order = INFO.labels["mer6"]
    names = [f"sample_{k:08d}" for k in range(11)]
    known = [(n, label, k - 2.5) for k, (n, label) in enumerate(zip(names[:6], order, strict=True))]
    tiny.table("track1_train_disdim.csv", ("name", "discrete", "valence"), known)
    tiny.table("track1_test_dis.csv", ("name", "discrete"), [(names[9], "happy")])
    tiny.table("track2_train_ovmerd.csv", ("name", "openset"), [(names[6], "['happy', 'joyful']")])
    tiny.table("track3_train_ovmerd.csv", ("name", "reason"), [(names[6], "She laughs aloud.")])
    written = [(names[7], "['calm']"), (names[8], "[angry, mad]")]
    tiny.table("track2_train_mercaptionplus.csv", ("name", "openset"), written)
    tiny.table("track3_train_mercaptionplus.csv", ("name", "reason"), [(n, tiny.text()) for n, _ in written])
    tiny.table(_CANDIDATES, ("name",), [(n,) for n in names[9:]])
    tiny.table("subtitle_chieng.csv", ("name", "chinese", "english"), [(n, "今天", tiny.text()) for n in names])
    tiny.video(f"video/{names[0]}.mp4", "happiness", 0.2)

"""C-EXPR-DB: compound expressions in web videos, annotated anew for the ABAW 7 track (compound_er).

One csv per video, `01.csv` … `56.csv`: `Begin Time - hh:mm:ss.ms`, `End Time - hh:mm:ss.ms`, then eight class columns
of which exactly one holds 1. One row is one segment. Fold lists `split-{0..4}/{train,val,test}.txt` have lines
`path,class,transcript` (the transcript may hold commas); there the validation list *is* the test list, and folds cut
through videos. The column `fold` is that of the clip named `{video}_{Class}_{i}` in these lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import VIDEO_SUFFIXES

INFO = CorpusInfo(
    name="c_expr_db",
    title="C-EXPR-DB (segments of 56 videos)",
    modalities=("video", "audio", "text"),
    perspective="expressed",
    licence="research use after a signed agreement; annotations as in their repository",
    obtain="videos: organisers of ABAW; annotations: repository of the compound expression work of the ABAW 7 "
    "challenge",
    size="56 videos, 125 segments",
    layout="01.csv … 56.csv; split-0 … split-4 with train.txt, val.txt, test.txt; 01.mp4 … 56.mp4 or trimmed clips",
    citation="Kollias: Multi-label compound expression recognition: C-EXPR database and network, CVPR 2023",
    labels=orders("cexpr8"),
    counts={"all": 125},
)

_BEGIN, _END = "Begin Time - hh:mm:ss.ms", "End Time - hh:mm:ss.ms"


def clock(text: str | None) -> float | None:
    """Seconds of `hh:mm:ss.ms`, None for anything else."""
    parts = (text or "").strip().split(":")
    try:
        hours, minutes, seconds = int(parts[0]), int(parts[1]), float(parts[2])
    except (ValueError, IndexError):
        return None
    return 3600 * hours + 60 * minutes + seconds


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:cexpr8`, `start`, `end`, `group:video`, `fold`, `text` where the lists have transcripts."""
    refs = [r for r in files.match("??.csv") if files.stem(r).isdigit() and _BEGIN in files.header(r)]
    if not refs:
        raise CorpusError(files.root, "no 01.csv … 56.csv with begin and end times", INFO.obtain)
    folds, words = _folds(files)
    for ref in refs:
        video, count = files.stem(ref), dict.fromkeys(INFO.labels["cexpr8"], 0)
        whole = files.named(video, VIDEO_SUFFIXES)
        for line, row in files.records(ref):
            named = [c for c, v in row.items() if c not in (_BEGIN, _END) and str(v).strip() in ("1", "1.0")]
            start, end = clock(row.get(_BEGIN)), clock(row.get(_END))
            if start is None or end is None or start >= end or len(named) != 1:
                notes.error(ref, line, "expected begin, end and exactly one class", "fetch the annotation again")
                continue
            label = notes.lookup("cexpr8", named[0], ref, line)
            if label is None:
                continue
            name = f"{video}_{label.replace(' ', '-')}_{count[label]}"
            count[label] += 1
            trimmed = files.named(name, VIDEO_SUFFIXES)
            yield {
                "id": name,
                "fold": folds.get(name),
                "media": trimmed[0] if trimmed else whole[0] if whole else None,
                "start": None if trimmed else start,
                "end": None if trimmed else end,
                "text": words.get(name),
                "group:video": video,
                "label:cexpr8": label,
            }


def _folds(files: Files) -> tuple[dict[str, int], dict[str, str]]:
    folds: dict[str, int] = {}
    words: dict[str, str] = {}
    for ref in [*files.match("split-?/train.txt"), *files.match("split-?/test.txt")]:
        for line in files.text(ref).splitlines():
            cells = line.split(",", 2)
            name = cells[0].rpartition("/")[2]
            if len(cells) == 3:
                words[name] = cells[2].strip()
            if files.stem(ref) == "test":
                folds[name] = int(files.folders(ref)[0][-1])
    return folds, words


def check(files: Files, table: Any, notes: Notes) -> None:
    """Say when a validation list is the test list, as in the published folds."""
    for ref in files.match("split-?/val.txt"):
        test = files.beside(ref, "test.txt")
        if test is not None and files.read(ref) == files.read(test):
            notes.warn(ref, 0, "the validation list is the test list", "take validation clips from train.txt")


def write_tiny(tiny: Tiny) -> None:
    """Two videos with four segments each, in two folds."""
    order = INFO.labels["cexpr8"]
    items = []
    for number in (1, 2):
        video, rows = f"{number:02d}", []
        for k in range(4):
            label = order[(k + 4 * number) % 8]
            times = [f"00:00:{3 * k + d:02d}.{250 * d:03d}" for d in (0, 2)]
            rows.append((*times, *("1" if c == label else "" for c in order)))
            items.append((f"{label.replace(' ', '-')}/{video}_{label.replace(' ', '-')}_0", order.index(label)))
        tiny.table(f"{video}.csv", (_BEGIN, _END, *order), rows)
        tiny.video(f"{video}.mp4", "surprise", 0.5)
    for fold in range(5):
        lines = [(k % 5 == fold, f"{path},{label},well, look at that") for k, (path, label) in enumerate(items)]
        tiny.lines(f"split-{fold}/train.txt", [line for tested, line in lines if not tested])
        for part in ("val", "test"):
            tiny.lines(f"split-{fold}/{part}.txt", [line for tested, line in lines if tested])

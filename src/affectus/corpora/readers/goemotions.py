"""GoEmotions: Reddit comments with 27 emotions and neutral, several per comment (Demszky et al. 2020).

The tab-separated files have no header and no quoting: text, label numbers joined by commas, comment id. Numbers refer
to the lines of `labels.txt`; without that file the published order is used. `group:thread` is not published in these
files, so only near-duplicate text can leak.
"""

from __future__ import annotations

from typing import Any

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

EMOTIONS = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
    "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral",
)  # fmt: skip

INFO = CorpusInfo(
    name="goemotions",
    title="GoEmotions",
    modalities=("text",),
    perspective="expressed",
    licence="Apache-2.0 (repository), CC BY 4.0 (data)",
    obtain="repository google-research/google-research, folder goemotions/data (free, no form)",
    size="54,263 comments, 5 MB",
    layout="train.tsv, dev.tsv, test.tsv (text, label numbers, comment id) and labels.txt or emotions.txt",
    citation="Demszky, Movshovitz-Attias, Ko, Cowen, Nemade, Ravi: GoEmotions: a dataset of fine-grained emotions, "
    "ACL 2020",
    labels={"goemotions28": EMOTIONS},
    counts={"train": 43410, "valid": 5426, "test": 5427},
    leaks={
        "text": "short comments recur across the published parts (86 of dev in train)",
        "near text": "small changes of such comments",
    },
)


def read(files: Files, notes: Notes) -> dict[str, Any]:
    """Columns `text` and `labels:goemotions28`."""
    order = _order(files, notes)
    filled: dict[str, list] = {"id": [], "split": [], "text": [], "labels:goemotions28": []}
    found = False
    for split, stem in (("train", "train"), ("valid", "dev"), ("test", "test")):
        for ref in files.match(f"{stem}.tsv"):
            found = True
            _read_list(files, ref, split, order, notes, filled)
    if not found:
        raise CorpusError(files.root, "none of train.tsv, dev.tsv, test.tsv is there", INFO.obtain)
    return filled


def _order(files: Files, notes: Notes) -> tuple[str, ...]:
    for ref in [*files.match("labels.txt"), *files.match("emotions.txt")]:
        listed = tuple(line.strip() for line in files.text(ref).splitlines() if line.strip())
        if sorted(listed) != sorted(EMOTIONS):
            odd = sorted(set(listed) ^ set(EMOTIONS))
            notes.error(ref, 0, f"label names differ from the published 28: {', '.join(odd)}", "fetch it again")
            continue
        return listed
    return EMOTIONS


def _read_list(
    files: Files, ref: str, split: str, order: tuple[str, ...], notes: Notes, filled: dict[str, list]
) -> None:
    by_code = {str(i): label for i, label in enumerate(order)}
    for line, cells in files.cells(ref):
        if len(cells) < 2:
            notes.error(ref, line, f"expected text, label numbers and id, found {len(cells)} field(s)", "fetch again")
            continue
        labels = [notes.label(code.strip(), by_code, ref, line) for code in cells[1].split(",")]
        if None in labels:
            continue
        filled["id"].append(cells[2].strip() if len(cells) > 2 else f"{split}{line}")
        filled["split"].append(split)
        filled["text"].append(cells[0])
        filled["labels:goemotions28"].append(labels)


def write_tiny(tiny: Tiny) -> None:
    """Twelve comments per split."""
    tiny.lines("labels.txt", EMOTIONS)
    for part in ("train", "dev", "test"):
        rows = [f"{tiny.text(EMOTIONS[k])}\t{k},{k + 9}\t{part}{k}" if k % 4 else f"{tiny.text()}\t27\t{part}{k}"
                for k in range(12)]  # fmt: skip
        tiny.lines(f"{part}.tsv", rows)

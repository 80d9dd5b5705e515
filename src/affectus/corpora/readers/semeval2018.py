"""SemEval-2018 task 1 E-c: tweets with any of eleven emotions (Mohammad et al. 2018).

Tab-separated: ID, Tweet, then one 0/1 column per emotion; the test file without gold labels holds `NONE` there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="semeval2018",
    title="SemEval-2018 task 1 E-c (English)",
    modalities=("text",),
    perspective="expressed",
    licence="research use",
    obtain="page of SemEval-2018 task 1 (free, no form): 2018-E-c-En-{train,dev,test-gold}.txt",
    size="10,983 tweets, 2 MB",
    layout="2018-E-c-En-train.txt, 2018-E-c-En-dev.txt, 2018-E-c-En-test.txt or -test-gold.txt",
    citation="Mohammad, Bravo-Marquez, Salameh, Kiritchenko: SemEval-2018 task 1: affect in tweets, SemEval 2018",
    labels=orders("semeval11"),
    counts={"train": 6838, "valid": 886, "test": 3259},
    leaks={
        "text": "tweets recur across the published parts",
        "near text": "small changes of such tweets",
    },
)

_LISTS = (("train", "train"), ("dev", "valid"), ("test-gold", "test"), ("test", "test"))


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text` and `labels:semeval11` (null in a test file without gold labels)."""
    found = False
    for name, split in _LISTS:
        for ref in files.match(f"2018-E-c-En-{name}.txt"):
            lines = files.cells(ref)
            emotions = [name.strip() for name in next(lines, (1, []))[1][2:]]
            if sorted(emotions) != sorted(INFO.labels["semeval11"]):
                notes.error(ref, 1, "header is not ID, Tweet and the eleven emotions", "fetch the file again")
                continue
            found = True
            for number, cells in lines:
                if len(cells) != 2 + len(emotions) or any(c not in ("0", "1", "NONE") for c in cells[2:]):
                    notes.error(ref, number, "expected ID, tweet and eleven 0 or 1", "fetch the file again")
                    continue
                labels = (
                    None if "NONE" in cells[2:] else [e for e, c in zip(emotions, cells[2:], strict=True) if c == "1"]
                )
                yield {"id": cells[0], "split": split, "text": cells[1], "labels:semeval11": labels}
    if not found:
        raise CorpusError(files.root, "no 2018-E-c-En-*.txt with the eleven emotions", INFO.obtain)


def write_tiny(tiny: Tiny) -> None:
    """Three tweets per split."""
    emotions = INFO.labels["semeval11"]
    for name in ("train", "dev", "test-gold"):
        rows = [
            "\t".join([f"2018-En-{name}{k}", tiny.text("joy"), *(str(int(i % 3 == k)) for i in range(11))])
            for k in range(3)
        ]
        tiny.lines(f"2018-E-c-En-{name}.txt", ["\t".join(("ID", "Tweet", *emotions)), *rows])

"""EmoContext (SemEval-2019 task 3): three-turn chats, the emotion of the last turn (Chatterjee et al. 2019).

Tab-separated with a header, no quoting. Train is balanced, development and test have the real share of `others` (85 %).
The first two turns are joined into `meta:context`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="emocontext",
    title="EmoContext (SemEval-2019 task 3)",
    modalities=("text",),
    perspective="expressed",
    licence="research use",
    obtain="organisers of SemEval-2019 task 3; copies in public repositories (train.txt, valid.txt, test.txt)",
    size="38,424 chats, 3 MB",
    layout="train.txt, valid.txt (or dev.txt), test.txt with columns id, turn1, turn2, turn3, label",
    citation="Chatterjee, Narahari, Joshi, Agrawal: SemEval-2019 task 3: EmoContext contextual emotion detection in "
    "text, SemEval 2019",
    labels=orders("emocontext4"),
    counts={"train": 30160, "valid": 2755, "test": 5509},
    leaks={
        "text": "short chats recur across the published parts",
        "near text": "small changes of such chats",
    },
)

_LISTS = (("train", "train"), ("valid", "valid"), ("dev", "valid"), ("test", "test"))
_HEADER = ["id", "turn1", "turn2", "turn3", "label"]


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text` (third turn), `meta:turn1`, `meta:turn2`, `label:emocontext4`."""
    found = False
    for name, split in _LISTS:
        for ref in files.match(f"{name}.txt"):
            lines = files.cells(ref)
            if next(lines, (1, []))[1][:4] != _HEADER[:4]:
                notes.error(ref, 1, "header is not id, turn1, turn2, turn3, label", "fetch the file again")
                continue
            found = True
            for number, cells in lines:
                if len(cells) != 5:
                    notes.error(ref, number, f"{len(cells)} fields instead of 5", "fetch the file again")
                    continue
                label = notes.lookup("emocontext4", cells[4], ref, number)
                if label is not None:
                    yield {"id": f"{split}/{cells[0]}", "split": split, "text": cells[3], "meta:turn1": cells[1],
                           "meta:turn2": cells[2], "label:emocontext4": label}  # fmt: skip
    if not found:
        raise CorpusError(files.root, "none of train.txt, valid.txt, test.txt is there", INFO.obtain)


def write_tiny(tiny: Tiny) -> None:
    """Four chats per split."""
    for name in ("train", "valid", "test"):
        rows = [
            (k, tiny.text(), tiny.text(), tiny.text(label), label) for k, label in enumerate(INFO.labels["emocontext4"])
        ]
        tiny.lines(f"{name}.txt", ["\t".join(_HEADER), *("\t".join(str(c) for c in r) for r in rows)])

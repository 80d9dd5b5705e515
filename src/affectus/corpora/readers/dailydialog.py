"""DailyDialog: everyday written conversations with an emotion and a speech act per turn (Li et al. 2017).

Parallel text files, one conversation per line: `dialogues_text.txt` (turns end in `__eou__`), `dialogues_emotion.txt`
(0 no emotion, 1 anger, 2 disgust, 3 fear, 4 happiness, 5 sadness, 6 surprise) and `dialogues_act.txt` (1 inform,
2 question, 3 directive, 4 commissive). Split folders `train`, `validation`, `test` hold the same three files with the
split in their names. A few conversations occur in several splits; the leak search names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

ACTS = ("inform", "question", "directive", "commissive")

INFO = CorpusInfo(
    name="dailydialog",
    title="DailyDialog",
    modalities=("text",),
    perspective="expressed",
    licence="CC BY-NC-SA 4.0",
    obtain="page of the authors: ijcnlp_dailydialog.zip (free, no form)",
    size="13,118 conversations, 102,979 turns, 10 MB",
    layout="{train,validation,test}/dialogues_{split}.txt, dialogues_emotion_{split}.txt, dialogues_act_{split}.txt",
    citation="Li, Su, Shen, Li, Cao, Niu: DailyDialog: a manually labelled multi-turn dialogue dataset, IJCNLP 2017",
    labels=orders("dailydialog7"),
)

_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
_MARK = "__eou__"


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text`, `label:dailydialog7`, `group:dialogue`, `meta:turn`, `meta:act`, `speaker` (A and B in turn)."""
    found = [(s, r) for stem, s in _SPLITS.items() for r in files.match(f"dialogues_{stem}.txt")]
    whole: list[tuple[str | None, str]] = [(None, r) for r in files.match("dialogues_text.txt")]
    if not found and not whole:
        raise CorpusError(files.root, "neither dialogues_train.txt nor dialogues_text.txt is there", INFO.obtain)
    for split, ref in found or whole:
        stem = files.stem(ref).removeprefix("dialogues_")
        ending = "" if stem == "text" else f"_{stem}"
        emotions, acts = (files.beside(ref, f"dialogues_{kind}{ending}.txt") for kind in ("emotion", "act"))
        if emotions is None:
            notes.error(ref, 0, f"dialogues_emotion{ending}.txt is not beside it", "fetch the archive again")
            continue
        yield from _dialogues(files, ref, emotions, acts, split, notes)


def _dialogues(
    files: Files, ref: str, emotions: str, acts: str | None, split: str | None, notes: Notes
) -> Iterator[dict[str, Any]]:
    texts = files.text(ref).splitlines()
    codes = files.text(emotions).splitlines()
    kinds = files.text(acts).splitlines() if acts else [""] * len(texts)
    if not len(texts) == len(codes) == len(kinds):
        notes.error(ref, 0, f"{len(texts)} conversations, {len(codes)} lines of emotions", "fetch the archive again")
    for number, (text, code, kind) in enumerate(zip(texts, codes, kinds, strict=False), 1):
        turns = [t.strip() for t in text.split(_MARK) if t.strip()]
        if len(turns) != len(code.split()):
            # the published training part has one such line
            notes.warn(ref, number, f"{len(turns)} turns, {len(code.split())} emotions", "the conversation is left out")
            continue
        name = f"{split or 'all'}/{number}"
        for k, (turn, emotion) in enumerate(zip(turns, code.split(), strict=True)):
            label = notes.decode("dailydialog7", emotion, emotions, number)
            act = kind.split()[k] if len(kind.split()) == len(turns) else ""
            if label is not None:
                yield {"id": f"{name}_{k}", "split": split, "text": turn, "speaker": "AB"[k % 2],
                       "group:dialogue": name, "label:dailydialog7": label, "meta:turn": k,
                       "meta:act": ACTS[int(act) - 1] if act in ("1", "2", "3", "4") else None}  # fmt: skip


def write_tiny(tiny: Tiny) -> None:
    """Two conversations per split."""
    for part, stem in enumerate(_SPLITS):
        turns = [[tiny.text("happiness") for _ in range(4 + k)] for k in range(2)]
        tiny.lines(f"{stem}/dialogues_{stem}.txt", [" ".join(f"{t} {_MARK}" for t in d) for d in turns])
        codes = [" ".join(str((k + part + n) % 7) for k in range(len(d))) + " " for n, d in enumerate(turns)]
        tiny.lines(f"{stem}/dialogues_emotion_{stem}.txt", codes)
        tiny.lines(f"{stem}/dialogues_act_{stem}.txt", [" ".join(str(k % 4 + 1) for k in range(len(d))) for d in turns])

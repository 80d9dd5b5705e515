"""What training and validation share, looked for before a fit: known leaks are written down, others stop the run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from affectus.corpora.corpus import Corpus
from affectus.corpora.leaks import Leak, compare, group_check
from affectus.errors import CorpusError

#: Rows that learn and rows that choose or score; or a corpus and the group that all folds of it keep together.
Parts = tuple[Corpus, Corpus] | tuple[Corpus, str]


def guard_splits(
    parts: Mapping[str, Parts], folder: Path, accepted: Mapping[str, str] | None = None, apart: Sequence[str] = ()
) -> None:
    """Check every pair of parts for shared groups, files of the same content and (nearly) the same texts.

    A leak is excused by `accepted` (kind → reason, from the recipe) or by the corpus, where it is a fact of the
    published split (`CorpusInfo.leaks`). `apart` names groups this split keeps apart by its own making, which the
    corpus cannot excuse. Excused leaks go to `folder/leaks.json` and as one line to stderr; any other raises
    CorpusError before anything is written. Compares bytes and texts alone: seconds for tens of thousands of items.
    """
    record: dict[str, dict[str, Any]] = {}
    for name, (train, held) in parts.items():
        if isinstance(held, str):
            leaks, measured = group_check(train, held), f"groups of {held}"
        else:
            leaks, measured = compare(train, held), f"{len(held)} of validation"
        reasons = [_reason(name, train, leak, accepted or {}, apart) for leak in leaks]
        found = [asdict(leak) | {"reason": reason} for leak, reason in zip(leaks, reasons, strict=True)]
        record[name] = {"train": len(train), "against": measured, "leaks": found}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "leaks.json"
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8")
    lines = [f"{name}: {e['count']} items share {e['kind']}" for name, r in record.items() for e in r["leaks"]]
    if lines:
        print(f"known leaks between training and validation: {'; '.join(lines)} (see {path})", file=sys.stderr)


def _reason(name: str, corpus: Corpus, leak: Leak, accepted: Mapping[str, str], apart: Sequence[str]) -> str:
    if leak.kind in accepted:
        return accepted[leak.kind]
    group = leak.kind.removeprefix("group:")
    if group not in apart and leak.kind in corpus.info.leaks:
        return corpus.info.leaks[leak.kind]
    remedy = f"split it otherwise, or state the reason in the recipe: accept_leaks: {{{leak.kind}: why}}"
    if leak.kind == "id":
        remedy = "a row must not be on both sides"
    raise CorpusError(name, str(leak).replace("test items", "validation items"), remedy)

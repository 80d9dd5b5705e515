"""Which corpora exist, and the three things one does with a folder: learn about it, load it, check it."""

from __future__ import annotations

import csv
import difflib
import io
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from affectus.corpora import readers
from affectus.corpora.base import CorpusInfo, Notes, Problem, build_table
from affectus.corpora.corpus import Corpus
from affectus.corpora.damage import cut_off
from affectus.corpora.files import Files
from affectus.corpora.leaks import leak_check
from affectus.corpora.synthetic import Tiny
from affectus.errors import AffectusError, CorpusError
from affectus.media import read_audio, read_image
from affectus.media.files import AUDIO_SUFFIXES, IMAGE_SUFFIXES


@cache
def names() -> tuple[str, ...]:
    """Names of all corpora that can be read, sorted. Each is a module of `affectus.corpora.readers`."""
    return tuple(sorted(m.name for m in iter_modules(readers.__path__) if not m.name.startswith("_")))


def reader(name: str) -> ModuleType:
    """The reader module of a corpus: `INFO`, `read`, and `write_tiny` for a synthetic folder in its layout."""
    key = name.strip().lower().replace("-", "_").replace(" ", "_").replace("+", "plus")
    if key not in names():
        close = difflib.get_close_matches(key, names(), 3, 0.5)
        raise CorpusError(name, "no such corpus", f"did you mean {', '.join(close)}?" if close else ", ".join(names()))
    return import_module(f"affectus.corpora.readers.{key}")


def info(name: str) -> CorpusInfo:
    """Facts about a corpus: licence, how to obtain it, layout, label orders, published counts."""
    return reader(name).INFO


def write_tiny(name: str, root: str | Path, seed: int = 0) -> Path:
    """Write a tiny synthetic folder in the published layout of a corpus (real names and syntax, drawn media)."""
    reader(name).write_tiny(Tiny(root, seed))
    return Path(root)


def _table(module: ModuleType, files: Files, notes: Notes) -> pa.Table:
    for ref, archive in files.archives.items():
        if archive.damage:
            notes.error(ref, 0, archive.damage, "fetch the archive again")
        for member in archive.escapes:
            notes.error(ref, 0, f"member {member!r} points outside the archive", "do not use this archive")
    for ref in files.skipped:
        notes.warn(ref, 0, "compressed archive is too big to be read in place", "unpack it, or make it a plain tar")
    try:
        table = build_table(module.read(files, notes), module.INFO)
    except csv.Error as error:
        raise CorpusError(files.root, f"malformed csv ({error})", "fetch the annotation files again") from None
    table = _unique(table, notes)
    return _with_media(table, notes) if module.INFO.needs_media else table


def _unique(table: pa.Table, notes: Notes) -> pa.Table:
    """Leave out second copies, such as those of an archive beside the folder it was unpacked to."""
    if pc.count_distinct(table["id"], mode="all").as_py() == table.num_rows:
        return table
    ids = table["id"].to_pylist()
    first: dict[str, int] = {}
    for position, item in enumerate(ids):
        first.setdefault(item, position)
    extra = [(p, i) for p, i in enumerate(ids) if first[i] != p]
    refs = table["media"].to_pylist()
    for position, item in extra[:20]:
        notes.warn(refs[position] or str(item), 0, f"second copy of item {item}", "it is left out")
    if len(extra) > 20:
        notes.warn("…", 0, f"{len(extra) - 20} more second copies are left out")
    return table.take(pa.array(sorted(first.values())))


def _with_media(table: pa.Table, notes: Notes) -> pa.Table:
    """Leave out items whose file is missing, unless the folder holds no media at all (annotation lists only)."""
    present = pc.is_valid(table["media"])
    kept = pc.sum(present).as_py() or 0
    if 0 < kept < table.num_rows:
        lost = table.filter(pc.invert(present))["id"].to_pylist()
        for item in lost[:50]:
            notes.warn(str(item), 0, "listed in the annotations, but its file is missing", "fetch the missing archive")
        if len(lost) > 50:
            notes.warn("…", 0, f"{len(lost) - 50} more listed items have no file")
        table = table.filter(present)
    return table


def load(name: str, root: str | Path, split: str | None = None, strict: bool = True) -> Corpus:
    """Read a corpus in its published layout.

    `root` is the folder the publisher's files lie in, or an archive (tar, tar.gz, zip), which is read in place. `split`
    is `train`, `valid` (or `dev`), `test`; None or `all` takes whatever the folder holds. With `strict` the first
    malformed row raises `CorpusError` or `LabelError` naming file and row; otherwise such rows are left out and listed
    in `problems`.
    """
    module = reader(name)
    notes = Notes(strict)
    files = Files(root, module.INFO.archives)
    table = _table(module, files, notes)
    corpus = Corpus(module.INFO, files, table, tuple(notes.problems))
    if not table.num_rows:
        raise CorpusError(files.root, f"holds no item of {module.INFO.title}", f"expected {module.INFO.layout}")
    return corpus if split is None or split.lower() == "all" else corpus.split(split)


def check(name: str, root: str | Path, decode: bool = True, leaks: bool = True) -> list[Problem]:
    """What is missing or malformed in a corpus folder; empty when nothing is.

    `decode=False` looks at annotations and file listing only; otherwise every picture and sound file is opened too, and
    the official splits are searched for what they share unless `leaks` is off.
    """
    module = reader(name)
    notes = Notes()
    try:
        files = Files(root, module.INFO.archives)
        table = _table(module, files, notes)
    except AffectusError as error:
        return [*notes.problems, Problem(error.subject, 0, error.reason, error.remedy)]
    if not table.num_rows:
        notes.error(str(files.root), 0, f"holds no item of {module.INFO.title}", f"expected {module.INFO.layout}")
    _check_counts(table, module.INFO, notes)
    if hasattr(module, "check"):
        module.check(files, table, notes)
    if decode and table.num_rows:
        _check_media(files, table, notes)
        if leaks:
            _check_leaks(Corpus(module.INFO, files, table), notes)
    return notes.problems


def _check_leaks(corpus: Corpus, notes: Notes) -> None:
    """Note what the official parts share: the first group column, identical files, identical and similar texts.

    Folds are compared by the first group column alone, as acted corpora repeat their sentences on purpose.
    """
    table = corpus.table
    first = [c for c in table.column_names if c.startswith("group:")][:1]
    splits = np.asarray(table["split"].to_pylist(), object)
    for part in ("valid", "test"):
        train, rows = np.flatnonzero(splits == "train"), np.flatnonzero(splits == part)
        if len(train) and len(rows):
            for leak in leak_check(corpus, train, rows, first):
                notes.warn(corpus.name, 0, f"{part}: {leak}", "report scores without these items too")
    folds = table["fold"].to_pylist()
    shared: dict[str, set[int]] = {}
    for name in first:
        for key, fold in zip(table[name].to_pylist(), folds, strict=True):
            if key is not None and fold is not None:
                shared.setdefault(key, set()).add(fold)
        torn = sorted(key for key, held in shared.items() if len(held) > 1)
        if torn:
            reason = f"{len(torn)} values of {name} are in several official folds, such as {torn[0]}"
            notes.warn(corpus.name, 0, reason, "use splits.group_folds")


def _check_counts(table: pa.Table, facts: CorpusInfo, notes: Notes) -> None:
    splits = table["split"].to_pylist()
    for split, published in facts.counts.items():
        found = len(splits) if split == "all" else splits.count(split)
        if found and found != published:
            notes.warn(facts.name, 0, f"{split} holds {found} items, published are {published}")


def _check_media(files: Files, table: pa.Table, notes: Notes) -> None:
    for ref in sorted({r for r in table["media"].to_pylist() if r and not r.endswith("/")}, key=files.order):
        suffix = files.suffix(ref)
        data = files.read(ref)
        if reason := cut_off(data, suffix):
            notes.error(ref, 0, reason, "fetch the file again")
            continue
        try:
            if suffix in IMAGE_SUFFIXES:
                read_image(ref, stream=io.BytesIO(data))
            elif suffix in AUDIO_SUFFIXES:
                read_audio(ref, stream=io.BytesIO(data))
        except AffectusError as error:
            notes.error(ref, 0, error.reason, "fetch the file again")

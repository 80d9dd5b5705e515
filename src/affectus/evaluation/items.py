"""Files of predictions and of labels in the shapes in which they are published → name → fields.

| file | shape |
|---|---|
| npz | `filenames` + `fileitems`; one dictionary such as `name2reason`; `train_corpus` … → name → {emo, val}; or a name
  array and parallel arrays |
| csv, tsv, parquet | a name column and any others; several spellings of both are known |
| json | name → record; a list of records; part → list of records; records with parallel lists of turns or sentences |
| jsonl | one record per line |
| txt | `name … label` per line, or `video start end##sentence` |
| folder | a corpus in its published layout |

Values that come without a field name are called `item`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from affectus.corpora.safe import load_npz
from affectus.errors import AffectusError, ConfigError

Item = Mapping[str, Any]

#: Field names that hold the name of an item, in order of preference.
NAMES = (
    "name", "names", "id", "file_name", "filename", "filenames", "file", "video_name", "videoid", "video_id", "vid",
    "image_id", "image", "img", "path", "clip", "sample", "qid", "key", "video",
)  # fmt: skip
_SECOND = ("sentence", "query", "expression", "phrase")
_LISTS = ("timestamps", "sentences", "labels", "expressions", "statement_list", "predictions", "spans")


@dataclass(frozen=True)
class Items:
    """Content of one file: `parts` maps a part (`train`, `test1`, … or "" without parts) to name → fields; `arrays`
    are arrays that do not run along items, such as a similarity table."""

    source: str
    parts: Mapping[str, Mapping[str, Item]]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def of(self, wanted: Iterable[str]) -> dict[str, Item]:
        """Items of the first wanted part that is there, of all parts when none is."""
        for part in wanted:
            if part in self.parts:
                return dict(self.parts[part])
        return {name: item for items in self.parts.values() for name, item in items.items()}


def read_items(path: str | Path, corpus: str = "", split: str = "all") -> Items:
    """Read a predictions or labels file, or a corpus folder (`corpus` names the reader).

    ConfigError or CorpusError names the file and what is wrong. Pickled content is read without running code.
    """
    file = Path(path)
    if file.is_dir():
        return _corpus(file, corpus, split)
    if not file.exists():
        raise ConfigError(file, "no such file")
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise ConfigError(file, f"is of no known kind ({file.suffix or 'no suffix'})", f"give {', '.join(_READERS)}")
    try:
        found = reader(file)
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise ConfigError(file, f"cannot be read ({error})", "fetch the file again") from None
    except OSError as error:
        raise ConfigError(file, f"cannot be read ({error.strerror or error})") from None
    if not found.arrays and not any(found.parts.values()):
        raise ConfigError(file, "holds no items")
    return found


def _npz(file: Path) -> Items:
    held = load_npz(file.read_bytes(), str(file))
    if parts := _parts(held):
        return Items(str(file), parts)
    dictionaries = {key: items for key, value in held.items() if (items := _fields(value)) is not None}
    if len(dictionaries) == 1:
        return Items(str(file), {"": next(iter(dictionaries.values()))})
    if dictionaries:
        return Items(str(file), dictionaries)
    key = next((name for name in NAMES if name in held), None)
    if key is None:
        return _unnamed(file, held)
    names = [str(name) for name in np.asarray(held[key]).ravel()]
    columns = {k: v for k, v in held.items() if k != key and np.ndim(v) and len(v) == len(names)}
    rest = {k: np.asarray(v) for k, v in held.items() if k != key}
    columns = {"item" if k == "fileitems" else k: v for k, v in columns.items()}
    rows = {name: {k: _value(v[i]) for k, v in columns.items()} for i, name in enumerate(names)}
    return Items(str(file), {"": rows}, rest)


def _parts(held: Mapping[str, Any]) -> dict[str, dict[str, Item]]:
    """Parts of a label archive: `train_corpus` … → name → {emo, val}."""
    found = {key.removesuffix("_corpus"): _fields(value) for key, value in held.items() if key.endswith("_corpus")}
    return {part: items for part, items in found.items() if items is not None}


def _unnamed(file: Path, held: Mapping[str, Any]) -> Items:
    """Arrays without names: rows are numbered, so that both files must hold them in the same order."""
    arrays = {key: np.asarray(value) for key, value in held.items()}
    sizes = {len(value) for value in arrays.values() if value.ndim}
    if len(sizes) != 1:
        return Items(str(file), {}, arrays)
    rows = {str(i): {k: _value(v[i]) for k, v in arrays.items()} for i in range(sizes.pop())}
    return Items(str(file), {"": rows}, arrays)


def _fields(value: Any) -> dict[str, Item] | None:
    """A dictionary name → anything as name → fields; None for what is no dictionary."""
    if not isinstance(value, dict):
        return None
    return {str(name): entry if isinstance(entry, dict) else {"item": _value(entry)} for name, entry in value.items()}


def _value(value: Any) -> Any:
    """numpy scalars as Python ones, arrays as they are."""
    return value.item() if isinstance(value, np.generic) else value


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8-sig")


def _table(file: Path) -> Items:
    text = _text(file)
    dialect = "\t" if file.suffix.lower() == ".tsv" or "\t" in text.split("\n", 1)[0] else ","
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=dialect))
    return Items(str(file), {"": _named(file, rows)})


def _parquet(file: Path) -> Items:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(file).to_pylist()
    except pa.ArrowInvalid as error:
        raise ConfigError(file, f"is no Parquet file ({error})") from None
    return Items(str(file), {"": _named(file, rows)})


def _lines(file: Path) -> Items:
    rows: list[Item] = []
    for number, line in enumerate(_text(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{file}:{number}", f"is no JSON ({error.msg})") from None
        if not isinstance(row, dict):
            raise ConfigError(f"{file}:{number}", "is no JSON object")
        rows.append(row)
    return Items(str(file), {"": _named(file, _flat(rows))})


def _json(file: Path) -> Items:
    held = json.loads(_text(file))
    if isinstance(held, list):
        rows = [row if isinstance(row, dict) else _pair(row, file) for row in held]
        return Items(str(file), {"": _named(file, _flat(rows))})
    if not isinstance(held, dict):
        raise ConfigError(file, "is neither an object nor a list")
    if held and all(isinstance(v, list) and v and isinstance(v[0], dict) for v in held.values()):
        return Items(str(file), {part: _named(file, _flat(rows)) for part, rows in held.items()})
    if parts := _parts(held):
        return Items(str(file), parts)
    known = _fields(held) or {}
    rows = [{**item, "name": name} for name, item in known.items()]
    if any(isinstance(item.get(key), list) for item in known.values() for key in ("timestamps", "sentences")):
        return Items(str(file), {"": _named(file, _flat(rows))})
    return Items(str(file), {"": known})


def _pair(row: Any, file: Path) -> Item:
    """A list entry `[name, value]`."""
    if isinstance(row, list) and len(row) == 2:
        return {"name": str(row[0]), "item": row[1]}
    raise ConfigError(file, f"holds {str(row)[:40]!r}, neither a record nor a pair of name and value")


_SPAN = re.compile(r"(\S+) ([\d.]+) ([\d.]+)##(.+)")


def _words(file: Path) -> Items:
    rows: list[Item] = []
    for number, line in enumerate(_text(file).splitlines(), 1):
        if not line.strip():
            continue
        if found := _SPAN.fullmatch(line.strip()):
            video, start, end, sentence = found.groups()
            rows.append({"video": video, "sentence": sentence, "span": [float(start), float(end)]})
            continue
        cells = re.split(r"[\s,]+", line.strip())
        if len(cells) < 2:
            raise ConfigError(f"{file}:{number}", "expected a name and a label")
        rows.append({"name": cells[0], "item": cells[-1], "values": cells[1:]})
    return Items(str(file), {"": _named(file, rows)})


def _flat(rows: Iterable[Item]) -> list[Item]:
    """Records with parallel lists (turns of a dialogue, sentences of a video, statements about a picture) as one record
    per entry; the others as they are."""
    flat: list[Item] = []
    for row in rows:
        lists = {key: row[key] for key in _LISTS if isinstance(row.get(key), list)}
        length = max((len(value) for key, value in lists.items() if key != "predictions"), default=0)
        inner = lists.get("statement_list")
        name = _name(row)
        if inner is not None:
            rest = {k: v for k, v in row.items() if k != "statement_list"}
            flat += [{**rest, **entry, "name": f"{name}#{k}"} for k, entry in enumerate(inner)]
        elif "expressions" in lists and length:
            flat += [{**row, "expression": text} for text in lists["expressions"]]
        elif ("sentences" in lists or "timestamps" in lists) and length:
            flat += list(_entries(row, lists, length, name))
        else:
            flat.append(row)
    return flat


def _entries(row: Item, lists: Mapping[str, list[Any]], length: int, name: str | None) -> Iterator[Item]:
    singular = {"timestamps": "span", "sentences": "sentence", "labels": "label", "predictions": "prediction"}
    rest = {k: v for k, v in row.items() if k not in lists}
    for k in range(length):
        own = {singular.get(key, key): value[k] for key, value in lists.items() if len(value) == length}
        if "timestamps" in lists or "span" in own:
            yield {**{k: v for k, v in rest.items() if k != "name"}, **own, "video": name}
        else:
            yield {**rest, **own, "name": f"{name}_{k}"}


def _name(row: Item) -> str | None:
    """Name of a record: MELD's two numbers, a picture or video with its sentence, or the first known name field."""
    if row.get("Dialogue_ID") not in (None, "") and row.get("Utterance_ID") not in (None, ""):
        return f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
    folded = {str(key).strip().lower(): value for key, value in row.items() if key is not None}
    first = next((folded[key] for key in NAMES if folded.get(key) not in (None, "")), None)
    if first is None:
        return None
    second = next((folded[key] for key in _SECOND if isinstance(folded.get(key), str)), None)
    return str(first) if second is None else f"{first}##{' '.join(str(second).split())}"


def _named(file: Path, rows: Iterable[Item]) -> dict[str, Item]:
    """Records by name; without any name they are numbered. A name that comes again gets `#2`, `#3` …"""
    rows = list(rows)
    names = [_name(row) for row in rows]
    if rows and all(name is None for name in names):
        return {str(i): row for i, row in enumerate(rows)}
    found: dict[str, Item] = {}
    seen: dict[str, int] = {}
    for number, (name, row) in enumerate(zip(names, rows, strict=True), 1):
        if name is None:
            raise ConfigError(f"{file}:{number}", "has no name", f"give one of the columns {', '.join(NAMES[:6])} …")
        seen[name] = seen.get(name, 0) + 1
        found[name if seen[name] == 1 else f"{name}#{seen[name]}"] = row
    return found


def _corpus(folder: Path, corpus: str, split: str) -> Items:
    """Rows of a corpus in its published layout; names are the ids of its table, spans and sentences as in files."""
    from affectus import corpora

    if not corpus:
        raise ConfigError(folder, "is a folder", "give the file with labels or predictions")
    loaded = corpora.load(corpus, folder, None, strict=False)
    try:
        loaded = loaded.split(split) if split not in ("", "all") else loaded
    except AffectusError:
        if any(loaded.column("split")):
            raise
    rows: list[Item] = []
    for row in loaded.table.to_pylist():
        fields = {key: value for key, value in row.items() if value is not None}
        if "text" in fields and "start" in fields and "group:video" in fields:
            fields["span"] = [fields["start"], fields["end"]]
            fields = _without_id(fields) | {"video": fields["group:video"], "sentence": fields["text"]}
        elif "text" in fields and "meta:box" in fields:
            fields = _without_id(fields) | {"image_id": fields["group:image"], "expression": fields["text"]}
        rows.append(fields)
    return Items(str(folder), {"": _named(folder, rows)})


def _without_id(fields: Item) -> dict[str, Any]:
    """Fields of a row that is named by its video or picture and its sentence, as in published files."""
    return {key: value for key, value in fields.items() if key != "id"}


_READERS: dict[str, Callable[[Path], Items]] = {
    ".npz": _npz,
    ".csv": _table,
    ".tsv": _table,
    ".json": _json,
    ".jsonl": _lines,
    ".txt": _words,
    ".parquet": _parquet,
}


def loose(name: str) -> str:
    """A name without folders, media suffix, letter case and leading zeros, for files that write names differently."""
    stem = PurePosixPath(name.replace("\\", "/")).name
    stem = re.sub(r"\.(mp4|avi|mov|mkv|wav|flac|mp3|npy|png|jpe?g|bmp|txt)$", "", stem, flags=re.IGNORECASE).lower()
    return stem.lstrip("0") or "0" if stem.isdigit() else stem

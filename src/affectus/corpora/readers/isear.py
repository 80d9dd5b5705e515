"""ISEAR: reports of situations in which people felt one of seven emotions (Scherer & Wallbott 1994).

The export `isear.csv` separates fields by `|` and has 43 columns; the report (`SIT`) holds broken lines, which some
copies keep as `á` plus a line break within a record, and placeholders such as `[ No response.]`. A headerless copy with
`emotion,text` is read too. Labels are what the writer felt; `ID`'s first digits give the country and person.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="isear",
    title="ISEAR",
    modalities=("text",),
    perspective="felt",
    licence="CC BY-NC-SA 3.0",
    obtain="Swiss Center for Affective Sciences, research material (free, no form)",
    size="7,666 reports of about 3,000 people in 37 countries",
    layout="isear.csv with columns ID|CITY|COUN|SUBJ|SEX|AGE|…|Field1|…|SIT|STATE separated by |, or emotion,text",
    citation="Scherer, Wallbott: Evidence for universality and cultural variation of differential emotion response "
    "patterning, Journal of Personality and Social Psychology 66(2), 1994",
    labels=orders("isear7"),
)

_NOTHING = re.compile(
    r"^\W*(no response|none|nothing|no description|blank|not applicable|never|the same)\b.{0,40}$", re.I
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text`, `label:isear7`, `group:writer` (country, city and person), `meta:` sex, age."""
    refs = [*files.match("isear.csv"), *files.match("ISEAR*.csv")]
    if not refs:
        raise CorpusError(files.root, "no isear.csv", INFO.obtain)
    ref = refs[0]
    data = files.read(ref)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    first = text.partition("\n")[0]
    yield from (_piped(text, ref, notes) if "|" in first else _pairs(text, ref, notes))


def _tidy(report: str) -> str:
    """One line, without the marks left by the broken lines of the export."""
    return " ".join(re.sub(r"\s*á\s*[\r\n]+|[\r\n]+", " ", report).split())


def _piped(text: str, ref: str, notes: Notes) -> Iterator[dict[str, Any]]:
    lines = text.splitlines()
    header = [c.strip().strip('"') for c in lines[0].split("|")]
    place = {name: k for k, name in enumerate(header)}
    if not {"Field1", "SIT"} <= set(place):
        notes.error(ref, 1, "columns Field1 and SIT are missing", "fetch the file again")
        return
    record, begun = "", 2
    for number, line in enumerate(lines[1:], 2):
        record, begun = (f"{record}\n{line}", begun) if record else (line, number)
        if record.count("|") < len(header) - 1:  # the report goes on in the next line
            continue
        cells = [c.strip().strip('"') for c in record.split("|")]
        record = ""
        label = notes.lookup("isear7", cells[place["Field1"]], ref, begun)
        report = _tidy(cells[place["SIT"]])
        if label is None or not report or _NOTHING.match(report):
            continue
        who = [cells[place[c]] for c in ("COUN", "CITY", "SUBJ") if c in place]
        yield {
            "id": f"{cells[0]}_{begun}",
            "text": report,
            "group:writer": "_".join(who) if who else None,
            "label:isear7": label,
            "meta:sex": cells[place["SEX"]] if "SEX" in place else None,
            "meta:age": cells[place["AGE"]] if "AGE" in place else None,
        }
    if record.strip():
        notes.error(ref, begun, "last record is cut off", "fetch the file again")


def _pairs(text: str, ref: str, notes: Notes) -> Iterator[dict[str, Any]]:
    for number, cells in enumerate(csv.reader(io.StringIO(text, newline="")), 1):
        if len(cells) < 2 or (number == 1 and cells[0].strip().lower() in ("emotion", "label", "")):
            continue
        pair = cells[:2] if not cells[0].strip().isdigit() else cells[1:3]
        label = notes.lookup("isear7", pair[0], ref, number)
        if label is not None and not _NOTHING.match(report := _tidy(pair[1])):
            yield {"id": str(number), "text": report, "label:isear7": label}


def write_tiny(tiny: Tiny) -> None:
    """Seven reports of two people, one with a broken line and one without a response."""
    header = ("ID", "CITY", "COUN", "SUBJ", "SEX", "AGE", "Field1", "SIT", "STATE")
    lines = ["|".join(header)]
    for k, label in enumerate(INFO.labels["isear7"]):
        report = "During the holidays á\nwe met again." if k == 1 else f"When {tiny.text(label)}"
        lines.append("|".join((f"1100{k}", "1", "1", str(k // 4 + 1), "1", "33", label, report, "1")))
    lines.append("|".join(("11008", "1", "1", "2", "1", "33", "joy", "[ No response.]", "1")))
    tiny.lines("isear.csv", lines, "cp1252")

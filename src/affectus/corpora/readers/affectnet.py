"""AffectNet: faces from the web with eight expressions, valence and arousal (Mollahosseini, Hasani & Mahoor 2017).

Three releases are read. The first: `training.csv` and `validation.csv` with picture path, face box, 68 landmarks,
expression, valence, arousal. The later one: `train_set`/`val_set` with `images/ID.jpg` and `annotations/ID_exp.npy`,
`_val.npy`, `_aro.npy`. The reduced one: `train_class/class001 … class008`. Expressions 8 (none), 9 (uncertain) and 10
(no face) have no label; valence and arousal of -2 mean that there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._class_folders import class_rows
from affectus.corpora.safe import load_npy
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="affectnet",
    title="AffectNet",
    modalities=("image",),
    perspective="expressed",
    licence="research use after a signed agreement",
    obtain="form on the AffectNet page of the University of Denver, by a principal investigator",
    size="450,000 labelled faces, 120 GB (first release); 291,651 faces, 4 GB (later release)",
    layout="training.csv, validation.csv and Manually_Annotated_Images/…; or {train,val}_set/{images,annotations}; or "
    "{train,valid}_class/class001…class008",
    citation="Mollahosseini, Hasani, Mahoor: AffectNet: a database for facial expression, valence, and arousal "
    "computing in the wild, IEEE Transactions on Affective Computing 10(1), 2019",
    labels=orders("affectnet8"),
    units={"valence": "-1…1", "arousal": "-1…1"},
    needs_media=True,
)

_CODES: dict[str, str | None] = {str(k): label for k, label in enumerate(INFO.labels["affectnet8"])}
_CODES |= dict.fromkeys(("8", "9", "10"))
_COLUMNS = ("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks",
            "expression", "valence", "arousal")  # fmt: skip


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:affectnet8` (null for no emotion or no face), `dim:` valence, arousal, `meta:` box, landmarks."""
    lists = [(split, ref) for name, split in (("training", "train"), ("validation", "valid"))
             for ref in files.match(f"{name}.csv")]  # fmt: skip
    annotated = files.match("annotations/*_exp.npy")
    if lists:
        for split, ref in lists:
            yield from _csv_rows(files, ref, split, notes)
    elif annotated:
        for ref in annotated:
            yield _npy_row(files, ref, notes)
    else:
        classes = {f"class{k:03d}": label for k, label in enumerate(INFO.labels["affectnet8"], 1)}
        for row in class_rows(files, INFO, "affectnet8", (".jpg", ".png", ".jpeg"), classes):
            folders = files.folders(row["media"])
            split = "train" if "train_class" in folders else "valid" if "valid_class" in folders else row["split"]
            yield {**row, "id": f"{split}/{row['id']}", "split": split}


def _affect(value: Any) -> float | None:
    """A rating within [-1, 1]; the publisher writes -2 where there is none."""
    number = float(value)
    return number if -1 <= number <= 1 else None


def _csv_rows(files: Files, ref: str, split: str, notes: Notes) -> Iterator[dict[str, Any]]:
    if missing := set(_COLUMNS) - set(files.header(ref)):
        raise CorpusError(ref, f"column {sorted(missing)[0]!r} is missing", INFO.obtain)
    pictures = {"/".join(files.logical[r].split("/")[-2:]): r for r in files.logical if files.suffix(r) != ".csv"}
    for line, row in files.records(ref):
        code = str(row["expression"]).strip()
        if code not in _CODES:
            notes.error(ref, line, f"unknown expression {code!r}", "expected 0 to 10")
            continue
        path = row["subDirectory_filePath"]
        numbers = [float(v) for v in str(row["facial_landmarks"]).split(";") if v]
        yield {
            "id": path,
            "split": split,
            "media": pictures.get("/".join(path.split("/")[-2:])),
            "label:affectnet8": _CODES[code],
            "dim:valence": _affect(row["valence"]),
            "dim:arousal": _affect(row["arousal"]),
            "meta:box": [float(row[f"face_{k}"]) for k in ("x", "y", "width", "height")],
            "meta:landmarks": numbers if len(numbers) == 136 else None,
        }


def _npy_row(files: Files, ref: str, notes: Notes) -> dict[str, Any]:
    name = files.stem(ref).removesuffix("_exp")
    split = "train" if "train_set" in files.folders(ref) else "valid"
    code = str(load_npy(files.read(ref), ref))
    if code not in _CODES:
        notes.error(ref, 0, f"unknown expression {code!r}", "expected 0 to 10")
    values: dict[str, float | None] = {}
    for key, column in (("val", "dim:valence"), ("aro", "dim:arousal")):
        other = files.beside(ref, f"{name}_{key}.npy")
        values[column] = None if other is None else _affect(load_npy(files.read(other), other))
    picture = ref.replace("annotations/", "images/").replace("_exp.npy", ".jpg")
    return {"id": f"{split}/{name}", "split": split, "media": picture if picture in files else None,
            "label:affectnet8": _CODES.get(code), **values}  # fmt: skip


def write_tiny(tiny: Tiny) -> None:
    """Nine faces per split in the first release's form, the last without a face."""
    for name in ("training", "validation"):
        rows = []
        for k in range(9):
            label = INFO.labels["affectnet8"][k] if k < 8 else "neutral"
            path = f"{k}/{name}{k}.jpg"
            tiny.image(f"Manually_Annotated_Images/{path}", label, 64)
            affect = (-2, -2) if k == 8 else (k / 10 - 0.4, 0.5 - k / 10)
            rows.append((path, 4, 4, 56, 56, ";".join("30.5" for _ in range(136)), 10 if k == 8 else k, *affect))
        tiny.table(f"{name}.csv", _COLUMNS, rows)

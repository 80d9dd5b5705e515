"""CK+: posed expressions of 123 people, from neutral to apex (Lucey et al. 2010).

327 of the 593 sequences have an emotion label (`Emotion/S005/001/…_emotion.txt`, 1…7 = anger, contempt, disgust, fear,
happy, sadness, surprise). One row is one labelled sequence; its picture is the last frame (apex), `meta:sequence` the
folder of all frames (`corpus.frames`), `meta:first` the neutral first frame. `CK+48` copies (three apex frames per
sequence in folders by class) are read too. Frames of one person must not be split: use `group:subject`, as folds drawn
at random over frames leak.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers._class_folders import class_rows
from affectus.corpora.synthetic import Tiny
from affectus.media.files import IMAGE_SUFFIXES

INFO = CorpusInfo(
    name="ckplus",
    title="CK+ (extended Cohn-Kanade)",
    modalities=("image", "video"),
    perspective="expressed",
    licence="research use after a signed agreement",
    obtain="agreement on the page of the Affect Analysis Group, University of Pittsburgh",
    size="593 sequences of 123 people, 1.7 GB",
    layout="cohn-kanade-images/S005/001/*.png, Emotion/S005/001/*_emotion.txt, FACS/S005/001/*_facs.txt",
    citation="Lucey, Cohn, Kanade, Saragih, Ambadar, Matthews: The extended Cohn-Kanade dataset (CK+), CVPR workshops "
    "2010",
    labels=orders("ckplus7"),
    needs_media=True,
)

_NAME = re.compile(r"(S\d+)_(\d+)_\d+", re.IGNORECASE)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:ckplus7`, `group:subject`, `meta:` sequence, first, aus (unit and intensity)."""
    written = files.match("*_emotion.txt")
    if not written:
        classes = {label: label for label in INFO.labels["ckplus7"]} | {"happiness": "happy"}
        for row in class_rows(files, INFO, "ckplus7", IMAGE_SUFFIXES, classes):
            if not (found := _NAME.match(files.stem(row["media"]))):
                notes.error(row["media"], 0, "file name does not begin with subject_sequence_frame")
                continue
            yield {**row, "group:subject": found[1].upper(), "group:sequence": f"{found[1].upper()}_{found[2]}"}
        return
    for ref in written:
        found = _NAME.match(files.stem(ref))
        content = files.text(ref).strip()
        code = content.partition(".")[0]
        label = notes.decode("ckplus7", int(code) - 1 if code.isdigit() else content, ref, 1)
        if not found or label is None:
            continue
        subject, sequence = found[1].upper(), found[2]
        folder, frames = _sequence(files, subject, sequence)
        yield {
            "id": f"{subject}_{sequence}",
            "media": frames[-1] if frames else None,
            "group:subject": subject,
            "group:sequence": f"{subject}_{sequence}",
            "label:ckplus7": label,
            "meta:sequence": folder,
            "meta:first": frames[0] if frames else None,
            "meta:aus": _units(files, files.stem(ref).replace("_emotion", "_facs"), notes),
        }


def _sequence(files: Files, subject: str, sequence: str) -> tuple[str | None, list[str]]:
    for folder in files.folders_named(sequence):
        frames = [r for r in files.inside(folder) if files.suffix(r) in IMAGE_SUFFIXES]
        if frames and files.folders(frames[0])[1].upper() == subject:
            return folder, frames
    return None, []


def _units(files: Files, stem: str, notes: Notes) -> list[str] | None:
    """Action units as `AU12:3` (intensity 1…5), `AU12` where the coder gave none (published as 0)."""
    for ref in files.named(f"{stem}.txt"):
        units = []
        for line, row in enumerate(files.text(ref).splitlines(), 1):
            cells = row.split()
            if not cells:
                continue
            try:
                unit, intensity = (round(float(c)) for c in cells)
            except ValueError:
                notes.error(ref, line, f"{row.strip()!r} is not unit and intensity", "fetch the file again")
                continue
            units.append(f"AU{unit}:{intensity}" if intensity else f"AU{unit}")
        return units
    return None


def write_tiny(tiny: Tiny) -> None:
    """Seven sequences of four subjects, three frames each, one of them without label."""
    for k, label in enumerate(INFO.labels["ckplus7"], 1):
        subject, sequence = f"S{4 + k // 2:03d}", f"{k:03d}"
        for frame in (1, 2, 3):
            name = f"{subject}_{sequence}_{frame:08d}"
            tiny.image(f"cohn-kanade-images/{subject}/{sequence}/{name}.png", label if frame > 1 else "neutral", 64)
        tiny.lines(f"FACS/{subject}/{sequence}/{name}_facs.txt", ["   4.0000000e+00   3.0000000e+00", "   7.0   0.0"])
        tiny.lines(f"Emotion/{subject}/{sequence}/{name}_emotion.txt", [f"   {k}.0000000e+00"])
    tiny.image("cohn-kanade-images/S010/001/S010_001_00000001.png")

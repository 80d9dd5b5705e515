"""COGNIMUSE, extended: valence and arousal evoked by twelve film excerpts, traced at 25 Hz (Malandrakis et al. 2011).

`Emotion Annotation/experienced/subj{S}_{I}_{Film}.dat` (and `intended/`) hold lines `seconds valence arousal` in [-1,
1]. One row is one film and kind; `traces` gives the median over raters per time step, cut to the shortest trace.
Protocol: leave one film out, so `fold` is the film's number in the published order.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from affectus.corpora.base import CorpusInfo, Notes
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from affectus.corpora.corpus import Corpus

#: Film names of the annotation files and codes of the media folders, in the published order.
FILMS = {
    "BeautifulMind": "BMI", "LOTRReturn": "LOR", "Gladiator": "GLA", "TheDeparted": "DEP", "Crash": "CRA",
    "Chicago": "CHI", "FindingNemo": "FNE", "AmericanBeauty": "ABE", "MDB": "MDB", "NoCountry": "NCO",
    "Ratatouille": "RAT", "ShakespeareInLove": "SIL",
}  # fmt: skip

INFO = CorpusInfo(
    name="cognimuse",
    title="COGNIMUSE (extended)",
    modalities=("video", "audio"),
    perspective="evoked",
    licence="research use; films are not included in full",
    obtain="COGNIMUSE page of the National Technical University of Athens (free, no form)",
    size="12 excerpts of half an hour",
    layout="Emotion Annotation/experienced/subj1_1_Chicago.dat …, media in folders named year and code (2003CHI)",
    citation="Malandrakis, Potamianos, Evangelopoulos, Zlatintsi: A supervised approach to movie emotion tracking, "
    "ICASSP 2011",
    units={"valence": "-1…1", "arousal": "-1…1"},
)

_NAME = re.compile(r"subj(\d+)_(\d+)_(\w+)")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `dim:` valence and arousal (means of the traces), `meta:` kind, raters, steps, `group:film`, `fold`."""
    kinds = {"experienced": "evoked", "intended": "expressed"}
    found = False
    for kind, perspective in kinds.items():
        for number, (film, code) in enumerate(FILMS.items(), 1):
            refs = [r for r in files.match(f"{kind}/subj*_{film}.dat") if _NAME.fullmatch(files.stem(r))]
            if not refs:
                continue
            found = True
            steps = traces(files, refs, notes)
            mark = "" if perspective == "evoked" else f"@{perspective}"
            media = [r for r in files.logical if files.suffix(r) in VIDEO_SUFFIXES and code in files.logical[r]]
            yield {
                "id": f"{kind}/{film}",
                "fold": number,
                "media": media[0] if media else None,
                "group:film": film,
                f"dim:valence{mark}": float(steps[:, 1].mean()) if len(steps) else None,
                f"dim:arousal{mark}": float(steps[:, 2].mean()) if len(steps) else None,
                "meta:kind": kind,
                "meta:raters": len(refs),
                "meta:steps": len(steps),
            }
    if not found:
        raise CorpusError(files.root, "no Emotion Annotation/experienced/subj*_*.dat", INFO.obtain)


def traces(files: Files, refs: list[str], notes: Notes) -> np.ndarray:
    """Median trace `(steps, 3)`: seconds, valence, arousal, over the given files, cut to the shortest."""
    curves = []
    for ref in refs:
        try:
            curve = np.array(
                [[float(v) for v in line.split()] for line in files.text(ref).splitlines() if line.strip()]
            )
        except ValueError:
            notes.error(ref, 0, "not lines of 'seconds valence arousal'", "fetch the file again")
            continue
        if curve.ndim != 2 or curve.shape[1] != 3 or np.abs(curve[:, 1:]).max() > 1:
            notes.error(ref, 0, "not three columns, or values beyond [-1, 1]", "fetch the file again")
            continue
        curves.append(curve)
    if not curves:
        return np.zeros((0, 3))
    shortest = min(len(c) for c in curves)
    return np.median(np.stack([c[:shortest] for c in curves]), 0)


def curve(corpus: Corpus, row: int) -> np.ndarray:
    """The consensus trace `(steps, 3)` of a row of the table: seconds, valence, arousal."""
    kind, _, film = str(corpus.table["id"][row].as_py()).partition("/")
    refs = [r for r in corpus.files.match(f"{kind}/subj*_{film}.dat") if _NAME.fullmatch(corpus.files.stem(r))]
    return traces(corpus.files, refs, Notes(strict=True))


def frame_ratings(files: Files, ref: str) -> np.ndarray:
    """Valence and arousal `(frames, 2)` of a film's csv without header, rows `picture, valence, arousal`, as the movie
    networks were published with. Raises `CorpusError` naming the row."""
    rows = [row for row in csv.reader(io.StringIO(files.text(ref), newline="")) if row]
    try:
        found = np.array([[float(row[1]), float(row[2])] for row in rows])
    except (ValueError, IndexError):
        raise CorpusError(ref, "rows are not 'picture, valence, arousal'", "give the csv of one film") from None
    if not len(found) or not np.abs(found).max() <= 1:
        raise CorpusError(ref, "holds no rating, or one beyond [-1, 1]", "give the csv of one film")
    return found


def feature_file(files: Files, ref: str) -> dict[str, np.ndarray]:
    """Arrays of an HDF5 file of the movie networks by film code: data sets `0` … `11` in the published order, features
    `(frames, size)` or labels `(frames,)`. Needs h5py."""
    if find_spec("h5py") is None:
        raise CorpusError(ref, "is HDF5, and h5py is not installed", "pip install 'affectus[data]'")
    import h5py

    codes = list(FILMS.values())
    with h5py.File(io.BytesIO(files.read(ref)), "r") as content:
        keys = list(content)
        if wrong := [k for k in keys if not (k.isdigit() and int(k) < len(codes))]:
            raise CorpusError(
                ref, f"data set {wrong[0]!r} is no film number 0 … 11", "give a file of the movie networks"
            )
        return {codes[int(k)]: np.asarray(content[k]) for k in sorted(keys, key=int)}


def write_tiny(tiny: Tiny) -> None:
    """Two films, three raters each, one second."""
    for film in ("Chicago", "Crash"):
        for subject in (1, 2, 3):
            time = np.arange(25 + subject) / 25
            curve = np.clip(0.3 * subject - 0.5 + 0.2 * np.sin(time), -1, 1)
            lines = [f"{t:.2f} {v:.4f} {-v:.4f}" for t, v in zip(time, curve, strict=True)]
            tiny.lines(f"Emotion Annotation/experienced/subj{subject}_1_{film}.dat", lines)

"""SEED-IV: EEG features of 15 people watching 72 film clips in three sessions (Zheng et al. 2019).

`eeg_feature_smooth/<session>/<person>_<date>.mat` holds `de_LDS1` … `de_LDS24` (and `de_movingAve…`, `psd_LDS…`,
`psd_movingAve…`): `(62, windows, 5)` with windows of 4 s and the bands delta, theta, alpha, beta, gamma. The emotion of
a clip is not in the files but in `ReadMe.txt`, one list of 24 numbers per session. The label is what the clip was
chosen for. The table needs the listing only; `features` and `corpora check` open the files and need SciPy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.matlab import load_mat, mat_shapes
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

TRIALS = 24
CHANNELS = 62
BANDS = ("delta", "theta", "alpha", "beta", "gamma")
#: Emotion numbers of the clips of each session: 0 neutral, 1 sad, 2 fear, 3 happy.
SESSIONS: dict[int, tuple[int, ...]] = {
    1: (1, 2, 3, 0, 2, 0, 0, 1, 0, 1, 2, 1, 1, 1, 2, 3, 2, 2, 3, 3, 0, 3, 0, 3),
    2: (2, 1, 3, 0, 0, 2, 0, 2, 3, 3, 2, 3, 2, 0, 1, 1, 2, 1, 0, 3, 0, 1, 3, 1),
    3: (1, 2, 2, 1, 3, 3, 3, 1, 1, 2, 1, 0, 2, 3, 3, 0, 2, 3, 0, 0, 2, 0, 1, 0),
}

INFO = CorpusInfo(
    name="seed_iv",
    title="SEED-IV (features)",
    modalities=("eeg",),
    perspective="felt",
    licence="research use after a signed agreement, no redistribution",
    obtain="licence form on the SEED page of the BCMI laboratory, Shanghai Jiao Tong University",
    size="15 people, 3 sessions, 24 clips each; features 1 GB",
    layout="eeg_feature_smooth/1/1_20160518.mat … eeg_feature_smooth/3/15_20150527.mat",
    citation="Zheng, Liu, Lu, Lu, Cichocki: EmotionMeter: a multimodal framework for recognizing human emotions, IEEE "
    "Transactions on Cybernetics 49(3), 2019",
    labels=orders("seed4"),
    counts={"all": 1080},
)

_NAME = re.compile(r"(\d+)_(\d{8})")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:seed4`, `meta:` session, trial, date, `group:` subject and clip; one row per person and clip."""
    refs = _refs(files)
    if not refs:
        raise CorpusError(files.root, "no eeg_feature_smooth with one folder per session", INFO.obtain)
    for ref in refs:
        named = _NAME.fullmatch(files.stem(ref))
        session = int(files.folders(ref)[0])
        if named is None:
            notes.error(ref, 0, "file is not named <person>_<date>.mat")
            continue
        for trial, code in enumerate(SESSIONS[session], 1):
            yield {
                "id": f"{session}/{files.stem(ref)}/{trial:02d}",
                "media": ref,
                "group:subject": named[1],
                "group:clip": f"{session}/{trial:02d}",
                "label:seed4": notes.decode("seed4", code, ref, trial, "publisher"),
                "meta:session": session,
                "meta:trial": trial,
                "meta:date": named[2],
            }


def _refs(files: Files) -> list[str]:
    found = [r for r in files.match("eeg_feature_smooth/*/*.mat") if files.folders(r)[0] in ("1", "2", "3")]
    return sorted(found, key=lambda r: (files.folders(r)[0], len(files.stem(r)), files.stem(r)))


def features(files: Files, ref: str, kind: str = "de_LDS") -> list[np.ndarray]:
    """Features of the 24 clips of one file: float32 `(windows, 62, 5)` each; `kind` also `de_movingAve`, `psd_LDS` …"""
    names = [f"{kind}{k}" for k in range(1, TRIALS + 1)]
    held = load_mat(files.read(ref), ref, names)
    missing = [n for n in names if n not in held]
    if missing:
        raise CorpusError(ref, f"holds no {missing[0]}", "fetch the file again")
    # a clip of one window loses that axis on reading
    return [np.asarray(held[n], np.float32).reshape(CHANNELS, -1, len(BANDS)).transpose(1, 0, 2) for n in names]


def check(files: Files, table: Any, notes: Notes) -> None:
    """Every file holds the 24 clips with 62 electrodes and 5 bands, as many windows in every kind of feature."""
    for ref in _refs(files):
        try:
            shapes = mat_shapes(files.read(ref), ref)
        except CorpusError as error:
            notes.error(ref, 0, error.reason, error.remedy)
            continue
        for k in range(1, TRIALS + 1):
            shape = shapes.get(f"de_LDS{k}")
            if shape is None or len(shape) != 3 or (shape[0], shape[2]) != (CHANNELS, len(BANDS)):
                what = "missing" if shape is None else f"of shape {shape}"
                notes.error(ref, k, f"de_LDS{k} is {what}, expected (62, windows, 5)", "fetch the file again")


def write_tiny(tiny: Tiny) -> None:
    """Two people in session 1, one in session 2, three windows per clip; the bands differ between emotions."""
    for session, name in ((1, "1_20160518"), (1, "2_20150915"), (2, "1_20161125")):
        content = {}
        for k, code in enumerate(SESSIONS[session], 1):
            level = np.array([20.0, 18.0, 17.0, 16.0 + 0.5 * code, 16.0 + code])
            for kind in ("de_movingAve", "de_LDS"):
                content[f"{kind}{k}"] = level + tiny.random.normal(0, 0.3, (CHANNELS, 3, len(BANDS)))
        tiny.mat(f"eeg_feature_smooth/{session}/{name}.mat", content)

"""DREAMER: EEG and ECG of 23 people watching 18 film clips, with their own ratings (Katsigiannis & Ramzan 2018).

`DREAMER.mat` is one MATLAB 5 struct: `Data{person}.EEG.stimuli{clip}` and `.baseline{clip}` `(samples, 14)` at 128 Hz,
`.ECG` alike with 2 channels at 256 Hz, `ScoreValence`, `ScoreArousal`, `ScoreDominance` (1–5 each). Every clip was
chosen for one emotion, which is evoked by design and not what a person reported. Reading needs SciPy
(`affectus[data]`) and about twice the size of the file in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from affectus.corpora.base import CorpusInfo, Notes, orders, rescale
from affectus.corpora.files import Files
from affectus.corpora.matlab import load_mat
from affectus.corpora.synthetic import Tiny, brain_waves
from affectus.errors import CorpusError

RATE = 128
ELECTRODES = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
#: Emotion that each of the 18 clips was chosen for, in the order of the file.
TARGETS = ("calmness", "surprise", "amusement", "fear", "excitement", "disgust", "happiness", "anger", "sadness",
           "disgust", "calmness", "amusement", "happiness", "anger", "fear", "excitement", "sadness",
           "surprise")  # fmt: skip

INFO = CorpusInfo(
    name="dreamer",
    title="DREAMER",
    modalities=("eeg",),
    perspective="felt",
    licence="research use after a signed agreement",
    obtain="request form on the Zenodo record of DREAMER",
    size="23 people, 18 clips each, 450 MB",
    layout="DREAMER.mat",
    citation="Katsigiannis, Ramzan: DREAMER: a database for emotion recognition through EEG and ECG signals from "
    "wireless low-cost off-the-shelf devices, IEEE Journal of Biomedical and Health Informatics 22(1), 2018",
    labels=orders("dreamer9"),
    units={"valence": "1–5", "arousal": "1–5", "dominance": "1–5"},
    counts={"all": 414},
)

_SCORES = {"valence": "ScoreValence", "arousal": "ScoreArousal", "dominance": "ScoreDominance"}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `dim:`/`raw:` valence, arousal, dominance, `label:dreamer9@evoked`, `group:` subject and clip."""
    ref, people = _people(files)
    for number, person in enumerate(people, 1):
        scores = {dim: np.atleast_1d(person.get(field, ())) for dim, field in _SCORES.items()}
        counts = {len(values) for values in scores.values()}
        if counts != {len(_trials(person, "stimuli"))}:
            notes.error(ref, number, "numbers of clips and of ratings differ", "fetch the file again")
            continue
        for clip in range(counts.pop()):
            filled: dict[str, Any] = {}
            for dim, values in scores.items():
                filled[f"raw:{dim}"] = value = notes.number(values[clip], 1, 5, dim, ref, number)
                filled[f"dim:{dim}"] = rescale(value, 1, 5)
            yield {
                "id": _name(number, clip + 1),
                "media": ref,
                "group:subject": f"{number:02d}",
                "group:clip": f"{clip + 1:02d}",
                "label:dreamer9@evoked": TARGETS[clip] if clip < len(TARGETS) else None,
                **filled,
            }


def recordings(files: Files) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """`(id, EEG while watching, EEG before it)` of every trial: float32 `(14, samples)` at 128 Hz, from one reading."""
    _, people = _people(files)
    for number, person in enumerate(people, 1):
        pairs = zip(_trials(person, "stimuli"), _trials(person, "baseline"), strict=True)
        for clip, (watching, before) in enumerate(pairs, 1):
            yield _name(number, clip), np.asarray(watching, np.float32).T, np.asarray(before, np.float32).T


def _name(person: int, clip: int) -> str:
    return f"S{person:02d}/{clip:02d}"


def _people(files: Files) -> tuple[str, list[dict[str, Any]]]:
    refs = files.match("DREAMER.mat")
    if not refs:
        raise CorpusError(files.root, "no DREAMER.mat", INFO.obtain)
    whole = load_mat(files.read(refs[0]), refs[0], ["DREAMER"]).get("DREAMER")
    people = whole.get("Data") if isinstance(whole, dict) else None
    people = [people] if isinstance(people, dict) else people
    if people is None or not all(isinstance(p, dict) for p in people):
        raise CorpusError(refs[0], "holds no DREAMER.Data with one struct per person", "fetch the file again")
    return refs[0], list(people)


def _trials(person: dict[str, Any], part: str) -> list[np.ndarray]:
    """Recordings of all clips; a cell with one entry comes as that entry."""
    held = person.get("EEG", {}).get(part, [])
    return [held] if isinstance(held, np.ndarray) and held.dtype != object else list(held)


def check(files: Files, table: Any, notes: Notes) -> None:
    """Every recording has 14 channels and finite samples."""
    ref = files.match("DREAMER.mat")[0]
    for name, watching, before in recordings(files):
        for signal in (watching, before):
            if signal.ndim != 2 or signal.shape[0] != len(ELECTRODES) or not signal.shape[1]:
                notes.error(ref, 0, f"EEG of {name} has shape {signal.T.shape}, expected (samples, 14)")
            elif not np.isfinite(signal).all():
                notes.error(ref, 0, f"EEG of {name} holds values that are no numbers")


def write_tiny(tiny: Tiny) -> None:
    """Two people, all clips, one second of signals each."""
    people = np.empty((1, 2), object)
    for k in range(2):
        scores = {field: np.array([[(i * (3 + j) + k) % 5 + 1] for i in range(18)], np.uint8)
                  for j, field in enumerate(_SCORES.values())}  # fmt: skip
        eeg, ecg = {}, {}
        for part in ("baseline", "stimuli"):
            cells, hearts = np.empty((18, 1), object), np.empty((18, 1), object)
            for i in range(18):
                valence, arousal = (rescale(float(scores[f][i, 0]), 1, 5) or 0.0 for f in list(scores)[:2])
                waves = (valence, arousal) if part == "stimuli" else (0.0, 0.0)
                cells[i, 0] = brain_waves(waves[0], waves[1], tiny.random, (RATE, len(ELECTRODES)), RATE)
                hearts[i, 0] = tiny.random.normal(2000, 50, (2 * RATE, 2)).round()
            eeg[part], ecg[part] = cells, hearts
        people[0, k] = {"Age": str(22 + k), "Gender": ("male", "female")[k], "EEG": eeg, "ECG": ecg, **scores}
    names = np.array(ELECTRODES, object).reshape(1, -1)
    tiny.mat("DREAMER.mat", {"DREAMER": {
        "Data": people, "EEG_SamplingRate": RATE, "ECG_SamplingRate": 256, "EEG_Electrodes": names,
        "noOfSubjects": 2, "noOfVideoSequences": 18, "Version": "1.0.2",
    }})  # fmt: skip

"""MAHNOB-HCI: faces, EEG and body signals of people watching film clips (Soleymani et al. 2012).

`Sessions/<number>/session.xml` states what the person reported: `feltVlnc`, `feltArsl`, `feltCtrl`, `feltPred` (1–9)
and a keyword `feltEmo`. The face video `…_C1 trigger _C_Section_<n>.avi` and the recording `Part_<p>_S_Trial<t>_
emotion.bdf` lie beside it. Sessions without these answers belong to the tagging experiment and are left out. Keywords
7 to 10 (scream, bored, sleepy, unknown) are buttons of the tagging experiment, no emotion.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from affectus.corpora.base import CorpusInfo, Notes, orders, rescale
from affectus.corpora.bdf import Recording, read_bdf
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny, brain_waves
from affectus.errors import CorpusError

#: The 32 electrodes of the recordings, in their order; EXG, GSR, Resp, Temp and Status channels follow.
ELECTRODES = (
    "Fp1", "AF3", "F3", "F7", "FC5", "FC1", "C3", "T7", "CP5", "CP1", "P3", "P7", "PO3", "O1", "Oz", "Pz",
    "Fp2", "AF4", "Fz", "F4", "F8", "FC6", "FC2", "Cz", "C4", "T8", "CP6", "CP2", "P4", "P8", "PO4", "O2",
)  # fmt: skip

INFO = CorpusInfo(
    name="mahnob_hci",
    title="MAHNOB-HCI (emotion elicitation)",
    modalities=("eeg", "video", "audio"),
    perspective="felt",
    licence="research use after a signed agreement, no redistribution",
    obtain="registration on the MAHNOB database site of Imperial College London",
    size="27 people, 20 clips each; 527 complete recordings with EEG",
    layout="Sessions/10/session.xml, Part_1_S_Trial5_emotion.bdf, P1-Rec1-…_C1 trigger _C_Section_10.avi",
    citation="Soleymani, Lichtenauer, Pun, Pantic: A multimodal database for affect recognition and implicit tagging, "
    "IEEE Transactions on Affective Computing 3(1), 2012",
    labels=orders("mahnob9"),
    units={"valence": "1–9", "arousal": "1–9", "dominance": "1–9", "predictability": "1–9"},
)

_ANSWERS = {"valence": "feltVlnc", "arousal": "feltArsl", "dominance": "feltCtrl", "predictability": "feltPred"}
_KEYWORDS: dict[str, str] = dict(zip(("0", "1", "2", "3", "4", "5", "6", "11", "12"), INFO.labels["mahnob9"],
                                     strict=True))  # fmt: skip
_BUTTONS = ("7", "8", "9", "10")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `dim:`/`raw:` of the four answers, `label:mahnob9`, `meta:eeg` (BDF), `group:` subject and clip."""
    refs = files.match("session.xml")
    if not refs:
        raise CorpusError(files.root, "no Sessions/<number>/session.xml", INFO.obtain)
    for ref in sorted(refs, key=lambda r: (len(files.folders(r)[0]), files.folders(r)[0])):
        try:
            session = ElementTree.fromstring(files.read(ref))
        except ElementTree.ParseError as error:
            notes.error(ref, error.position[0], f"not XML ({error})", "fetch the file again")
            continue
        if session.get("feltVlnc") is None or session.get("feltArsl") is None:
            continue
        yield _row(files, session, ref, notes)


def _row(files: Files, session: ElementTree.Element, ref: str, notes: Notes) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for dim, answer in _ANSWERS.items():
        given = session.get(answer)
        value = None if given is None else notes.number(given, 1, 9, answer, ref, 0)
        filled[f"raw:{dim}"], filled[f"dim:{dim}"] = value, rescale(value, 1, 9)
    keyword = session.get("feltEmo")
    label = None if keyword is None or keyword in _BUTTONS else notes.label(keyword, _KEYWORDS, ref, 0)
    person, length = session.find("subject"), session.get("cutLenSec")
    around = files.inside(ref.removesuffix("session.xml"))
    faces = [r for r in around if files.suffix(r) == ".avi" and "c1 trigger" in files.stem(r).lower()]
    return {
        "id": files.folders(ref)[0],
        "media": faces[0] if faces else next((r for r in around if files.suffix(r) == ".avi"), None),
        "group:subject": None if person is None else person.get("id"),
        "group:clip": session.get("mediaFile"),
        "label:mahnob9": label,
        **filled,
        "meta:eeg": next((r for r in around if files.suffix(r) == ".bdf"), None),
        "meta:seconds": None if length is None else notes.number(length, 0, 1e5, "cutLenSec", ref, 0),
    }


def eeg(files: Files, ref: str) -> Recording:
    """The 32 electrodes of a `meta:eeg` file, float32 `(32, samples)` µV, with the triggers of its status channel.

    A recording starts 30 s before and ends 30 s after the clip.
    """
    return read_bdf(files.read(ref), ref, ELECTRODES)


def check(files: Files, table: Any, notes: Notes) -> None:
    """Every recording is whole and has the 32 electrodes; sessions without one are named."""
    for name, ref in zip(table["id"].to_pylist(), table["meta:eeg"].to_pylist(), strict=True):
        if ref is None:
            notes.warn(f"Sessions/{name}", 0, "has no EEG recording", "fetch the session again")
            continue
        try:
            eeg(files, ref)
        except CorpusError as error:
            notes.error(ref, 0, error.reason, error.remedy)


def write_tiny(tiny: Tiny) -> None:
    """Three sessions of two people and one of the tagging experiment."""
    answers = ((3, 6, 4, 5, 12), (7, 5, 6, 6, 4), (5, 1, 5, 7, 0))
    for k, (valence, arousal, control, expected, keyword) in enumerate(answers):
        folder, person = f"Sessions/{10 + 2 * k}", k // 2 + 1
        felt = {"feltArsl": arousal, "feltCtrl": control, "feltEmo": keyword, "feltPred": expected,
                "feltVlnc": valence, "isStim": 1, "cutNr": 10 + 2 * k, "cutLenSec": 2, "mediaFile": f"{53 + k}.avi",
                "experimentType": "emotion elicitation", "sessionId": 10 + 2 * k}  # fmt: skip
        _write_session(tiny, folder, person, felt)
        waves = brain_waves(valence / 4 - 1.25, arousal / 4 - 1.25, tiny.random, (512, len(ELECTRODES) + 1), 256).T
        waves[-1] = 0
        tiny.bdf(f"{folder}/Part_{person}_S_Trial{k + 1}_emotion.bdf", (*ELECTRODES, "Status"), waves, 256)
    name = "P1-Rec1-2009.07.09.17.53.46_C1 trigger _C_Section_10.avi"
    tiny.video(f"Sessions/10/{name}", "fear", 0.2)
    _write_session(tiny, "Sessions/1002", 1, {"isStim": 1, "mediaFile": "a.avi", "sessionId": 1002})


def _write_session(tiny: Tiny, folder: str, person: int, values: dict[str, Any]) -> None:
    written = " ".join(f'{key}="{value}"' for key, value in values.items())
    body = (f"<session {written}>", f'  <subject id="{person}" gender="female"/>', "</session>")
    tiny.lines(f"{folder}/session.xml", ('<?xml version="1.0" encoding="UTF-8"?>', *body))

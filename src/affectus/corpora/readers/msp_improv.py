"""MSP-IMPROV: improvised and read speech of twelve actors in six sessions (Busso et al. 2017).

File names: `MSP-IMPROV-S01A-F01-P-FM01`: sentence 01, intended emotion A (anger), speaker F01, recording type (P
improvised target sentence, R read, S other speech during improvisation, T before and after), turn. The label is the
raters' consensus in `Evalution.txt` (the published spelling): `UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:2.6; V:3.0; D:2.8;
…`. Fold = session; session k holds speakers F0k and M0k.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders, rescale
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

CODES = {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}
_TYPES = {"P": "improvised target", "R": "read", "S": "improvised other", "T": "natural"}

INFO = CorpusInfo(
    name="msp_improv",
    title="MSP-IMPROV",
    modalities=("audio", "video"),
    perspective="expressed",
    licence="research use after a signed agreement of the institution",
    obtain="agreement on the page of the Multimodal Signal Processing laboratory, University of Texas at Dallas",
    size="8,438 turns of 12 actors, 9 hours",
    layout="session1 … session6 with S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav, and Evalution.txt",
    citation="Busso, Parthasarathy, Burmania, AbdelWahab, Sadoughi, Mower Provost: MSP-IMPROV: an acted corpus of "
    "dyadic "
    "interactions to study emotion perception, IEEE Transactions on Affective Computing 8(1), 2017",
    labels=orders("msp_improv4"),
    units={"valence": "1–5", "arousal": "1–5", "dominance": "1–5"},
    counts={"all": 8438},
)

_NAME = re.compile(r"(?:MSP|UTD)-IMPROV-S(\d\d)([AHNS])-([FM])(\d\d)-([PRST])-(\w+)")
_SCORE = re.compile(r"([AVD]):\s*([\d.]+)")
_DIMENSIONS = {"A": "arousal", "V": "valence", "D": "dominance"}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:msp_improv4` (null for other and no agreement), `dim:`/`raw:`, `group:` subject, session."""
    refs = [*files.match("Evalution.txt"), *files.match("Evaluation.txt")]
    if not refs:
        raise CorpusError(files.root, "no Evalution.txt", INFO.obtain)
    for ref in refs:
        for line, text in enumerate(files.text(ref, "latin-1").splitlines(), 1):
            cells = [c.strip() for c in text.split(";")]
            if not cells[0].upper().startswith(("UTD-IMPROV", "MSP-IMPROV")):
                continue
            found = _NAME.fullmatch(cells[0].partition(".")[0])
            if not found or len(cells) < 2 or cells[1] not in {*CODES, "O", "X"}:
                notes.error(ref, line, "not 'name; A, H, N, S, O or X; scores'", "fetch the file again")
                continue
            yield _row(files, found, cells[1], text)


def _row(files: Files, found: re.Match[str], code: str, text: str) -> dict[str, Any]:
    sentence, intended, gender, number, kind, turn = found.groups()
    name = f"MSP-IMPROV-S{sentence}{intended}-{gender}{number}-{kind}-{turn}"
    filled: dict[str, Any] = {
        "id": name,
        "fold": int(number),
        "media": next(iter([*files.named(f"{name}.wav"), *files.named(f"{name}.avi")]), None),
        "speaker": gender + number,
        "group:subject": gender + number,
        "group:session": number,
        "group:dialogue": f"{number}-S{sentence}{intended}",
        "label:msp_improv4": CODES.get(code),
        "meta:intended": CODES[intended],
        "meta:type": _TYPES[kind],
    }
    for key, score in _SCORE.findall(text):
        value = float(score)
        filled[f"raw:{_DIMENSIONS[key]}"] = value
        filled[f"dim:{_DIMENSIONS[key]}"] = rescale(value, 1, 5)
    return filled


def write_tiny(tiny: Tiny) -> None:
    """Four turns of two actors in each of two sessions, and one without agreement."""
    lines = []
    for session in ("01", "02"):
        for k, code in enumerate((*CODES, "X")):
            actor, intended = f"{'FM'[k % 2]}{session}", code if code != "X" else "N"
            stem = f"S0{k + 1}{intended}-{actor}-P-FM{k:02d}"
            lines += [
                f"UTD-IMPROV-{stem}.avi; {code}; A:2.600000 ; V:3.400000 ; D:2.800000 ; N:3.0;",
                "W_000; Neutral;",
                "",
            ]
            tiny.audio(f"session{int(session)}/S0{k + 1}{intended}/P/MSP-IMPROV-{stem}.wav", "neutral", 0.1)
    tiny.lines("Evalution.txt", lines)

"""IEMOCAP: acted two-person conversations in five sessions (Busso et al. 2008).

`EmoEvaluation/Ses01F_impro01.txt` holds one block per utterance: `[start - end] TURN code [valence, activation,
dominance]`, then one line per rater (`C-E2: Neutral; ()`). The code is the majority (`xxx` where there is none). Fold =
session, as in the leave-one-session-out protocol; session 5 is the usual test set of conversation work.
`label:iemocap4` merges excited into happy, `label:iemocap6` does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders, rescale
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.labels import space as label_space

CODES = {
    "neu": "neutral", "hap": "happiness", "sad": "sadness", "ang": "anger", "sur": "surprise", "fea": "fear",
    "dis": "disgust", "fru": "frustration", "exc": "excited", "oth": "other",
}  # fmt: skip
_FOUR = {"neu": "neutral", "hap": "happy", "exc": "happy", "sad": "sad", "ang": "anger"}
_SIX = {"neu": "neutral", "hap": "happy", "exc": "excited", "sad": "sad", "ang": "angry", "fru": "frustrated"}

INFO = CorpusInfo(
    name="iemocap",
    title="IEMOCAP",
    modalities=("audio", "video", "text"),
    perspective="expressed",
    licence="research use after a signed release form",
    obtain="form on the IEMOCAP page of the SAIL laboratory, University of Southern California",
    size="10,039 utterances of 151 conversations, 12 hours, 18 GB",
    layout="Session1 … Session5, each with dialog/EmoEvaluation/*.txt, dialog/transcriptions/*.txt, "
    "sentences/wav/Ses01F_impro01/*.wav",
    citation="Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee, Narayanan: IEMOCAP: interactive emotional dyadic "
    "motion capture database, Language Resources and Evaluation 42, 2008",
    labels=orders("iemocap10", "iemocap4", "iemocap6"),
    units={"valence": "1–5", "arousal": "1–5 (activation)", "dominance": "1–5", "iemocap10": "votes"},
    counts={"all": 10039},
)

_TURN = re.compile(r"\[([\d.]+) - ([\d.]+)\]\t(\S+)\t(\w{3})\t\[([\d.]+), ([\d.]+), ([\d.]+)\]")
_WORDS = re.compile(r"(Ses\d\d[FM]_\S+) \[[\d.]+-[\d.]+\]: ?(.*)")
_RATER = re.compile(r"C-\w+:\t(.*?)\t?\(")


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:iemocap10/6/4`, `votes:iemocap10`, `dim:`/`raw:`, `group:` dialogue, session, speaker."""
    refs = files.match("EmoEvaluation/Ses*.txt")
    if not refs:
        raise CorpusError(files.root, "no Session1/dialog/EmoEvaluation/*.txt", INFO.obtain)
    words: dict[str, str] = {}
    for ref in files.match("transcriptions/Ses*.txt"):
        for line in files.text(ref, "latin-1").splitlines():
            if found := _WORDS.match(line):
                words[found[1]] = found[2].strip()
    for ref in refs:
        row: dict[str, Any] | None = None
        for number, line in enumerate(files.text(ref, "latin-1").splitlines(), 1):
            if line.startswith("["):
                if row is not None:
                    yield row
                row = _utterance(files, line, ref, number, words, notes)
            elif row is not None and (rater := _RATER.match(line)):
                _count(row["votes:iemocap10"], rater[1])
        if row is not None:
            yield row


def _utterance(
    files: Files, line: str, ref: str, number: int, words: dict[str, str], notes: Notes
) -> dict[str, Any] | None:
    found = _TURN.match(line)
    if not found:
        notes.error(ref, number, "not '[start - end] turn code [v, a, d]'", "fetch the file again")
        return None
    start, end, turn, code = found.group(1, 2, 3, 4)
    if code != "xxx" and code not in CODES:
        notes.error(ref, number, f"unknown emotion code {code!r}", f"expected xxx, {', '.join(CODES)}")
        return None
    filled: dict[str, Any] = {
        "id": turn,
        "fold": int(turn[3:5]),
        "media": next(iter(files.named(f"{turn}.wav")), None),
        "text": words.get(turn),
        "speaker": f"{turn[:5]}{turn.rpartition('_')[2][0]}",
        "group:dialogue": turn.rpartition("_")[0],
        "group:session": turn[:5],
        "group:speaker": f"{turn[:5]}{turn.rpartition('_')[2][0]}",
        "label:iemocap10": CODES.get(code),
        "label:iemocap6": _SIX.get(code),
        "label:iemocap4": _FOUR.get(code),
        "votes:iemocap10": [0.0] * len(CODES),
        "meta:scripted": "script" in turn,
        "meta:dialogue_start": float(start),
        "meta:dialogue_end": float(end),
    }
    for name, text in zip(("valence", "arousal", "dominance"), found.group(5, 6, 7), strict=True):
        # two raters may leave 5.5 behind, the mean of several written ratings
        value = notes.number(text, 0, 6, name, ref, number)
        filled[f"raw:{name}"] = value
        filled[f"dim:{name}"] = None if value is None else min(max(rescale(value, 1, 5) or 0.0, -1.0), 1.0)
    return filled


def _count(votes: list[float], written: str) -> None:
    """Add the categories one rater named (several are allowed) to the votes."""
    known = label_space("iemocap10")
    for word in written.split(";"):
        if word.strip() in known:
            votes[known.index(word.strip())] += 1


def write_tiny(tiny: Tiny) -> None:
    """One conversation per session with eleven utterances, the last without a majority."""
    for session in range(1, 6):
        name = f"Ses{session:02d}F_impro01"
        blocks, words = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""], []
        for k, code in enumerate((*CODES, "xxx")):
            turn, start = f"{name}_{'FM'[k % 2]}{k // 2:03d}", 6.25 + 3 * k
            blocks += [f"[{start:.4f} - {start + 2:.4f}]\t{turn}\t{code}\t[2.5000, 3.5000, 2.0000]",
                       f"C-E2:\t{CODES.get(code, 'other').capitalize()};\t()", "C-E3:\tNeutral; Anger;\t(mild)",
                       "A-E3:\tval 3; act 2; dom  2;\t()", ""]  # fmt: skip
            words.append(f"{turn} [{start:09.4f}-{start + 2:09.4f}]: {tiny.text()}")
            if k < 2:
                tiny.audio(f"Session{session}/sentences/wav/{name}/{turn}.wav", CODES[code], 0.2)
        tiny.lines(f"Session{session}/dialog/EmoEvaluation/{name}.txt", blocks)
        tiny.lines(f"Session{session}/dialog/transcriptions/{name}.txt", words)

"""CREMA-D: twelve sentences acted in six emotions by 91 actors (Cao et al. 2014).

File names say it all: actor, sentence, emotion, level (`1019_DFA_ANG_XX`). Without recordings, lists
`split0k/{train,test}.csv` (`frames wav number`) give the names. The fold is that of the five-fold protocol: sorted
actors in runs of 18, the last run 19. `summaryTable.csv` adds the majority votes of raters who heard, saw, or heard and
saw.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError
from affectus.media.files import AUDIO_SUFFIXES, VIDEO_SUFFIXES

SENTENCES = {
    "IEO": "It's eleven o'clock", "TIE": "That is exactly what happened", "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about", "TAI": "The airplane is almost full", "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock", "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket", "ITS": "I think I've seen this before", "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}  # fmt: skip
EMOTIONS = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}

#: Recordings known to be broken, left out of the published folds.
BROKEN = ("1064_IEO_DIS_MD", "1064_TIE_SAD_XX", "1076_MTI_NEU_XX", "1076_MTI_SAD_XX")

INFO = CorpusInfo(
    name="crema_d",
    title="CREMA-D",
    modalities=("audio", "video"),
    perspective="expressed",
    licence="Open Database License",
    obtain="repository CheyneyComputerScience/CREMA-D (git-lfs, free, no form)",
    size="7,442 recordings of 91 actors; sound 0.6 GB, video 6 GB",
    layout="AudioWAV/1001_DFA_ANG_XX.wav, VideoFlash/1001_DFA_ANG_XX.flv, processedResults/summaryTable.csv",
    citation="Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: crowd-sourced emotional multimodal actors dataset, "
    "IEEE Transactions on Affective Computing 5(4), 2014",
    labels=orders("cremad6"),
    counts={"all": 7442},
    needs_media=True,
)

_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")
_VOTES = {"VoiceVote": "meta:voice_vote", "FaceVote": "meta:face_vote", "MultiModalVote": "meta:vote"}


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:cremad6`, `group:subject`, `group:sentence`, `meta:` level, video, broken, votes."""
    sounds = {files.stem(r): r for r in files.logical if files.suffix(r) in AUDIO_SUFFIXES}
    videos = {files.stem(r): r for r in files.logical if files.suffix(r) in VIDEO_SUFFIXES}
    names = dict.fromkeys([*sounds, *videos]) or _listed(files)
    if not names:
        raise CorpusError(files.root, "no AudioWAV, VideoFlash or split lists", INFO.obtain)
    votes: dict[str, dict[str, Any]] = {}
    for ref in files.match("summaryTable.csv"):
        votes |= {row["FileName"]: {c: row.get(k) for k, c in _VOTES.items()} for _, row in files.records(ref)}
    for name in names:
        ref = sounds.get(name) or videos.get(name) or name
        found = _NAME.fullmatch(name)
        if not found or found[2] not in SENTENCES or found[3] not in EMOTIONS or found[4] not in LEVELS:
            notes.error(ref, 0, "file name is not actor_sentence_emotion_level", "keep the published names")
            continue
        actor, sentence, emotion, level = found.groups()
        yield {
            "id": name,
            "fold": min((int(actor) - 1001) // 18, 4) + 1,
            "media": sounds.get(name) or videos.get(name),
            "text": SENTENCES[sentence],
            "speaker": actor,
            "group:subject": actor,
            "group:sentence": sentence,
            "label:cremad6": EMOTIONS[emotion],
            "meta:level": LEVELS[level],
            "meta:video": videos.get(name),
            "meta:broken": name in BROKEN,
            **votes.get(name, {}),
        }


def _listed(files: Files) -> dict[str, None]:
    names: dict[str, None] = {}
    for ref in files.match("split0?/t*.csv"):
        for line in files.text(ref).splitlines():
            cells = line.split(" ")
            if len(cells) == 3:
                names[cells[1].rpartition("/")[2].partition(".")[0]] = None
    return names


def write_tiny(tiny: Tiny) -> None:
    """Six emotions of three actors from three folds, with votes."""
    rows = []
    for actor in (1001, 1019, 1091):
        for code, label in EMOTIONS.items():
            name = f"{actor}_DFA_{code}_XX"
            tiny.audio(f"AudioWAV/{name}.wav", label, 0.1)
            rows.append((name, code[0], 60, code[0], 70, code[0], 80))
    header = ("FileName", "VoiceVote", "VoiceLevel", "FaceVote", "FaceLevel", "MultiModalVote", "MultiModalLevel")
    tiny.table("processedResults/summaryTable.csv", header, rows)

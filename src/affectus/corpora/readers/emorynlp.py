"""EmoryNLP: emotion in multi-party dialogue of a TV series (Zahiri & Choi 2018), the copy distributed with MELD.

Columns: Utterance, Speaker (a written list, several people may speak at once), Emotion, Scene_ID, Utterance_ID, Season,
Episode, Start_Time, End_Time. Scene numbers restart in each episode.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.readers.meld import mend, seconds
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="emorynlp",
    title="EmoryNLP emotion detection",
    modalities=("text",),
    perspective="expressed",
    licence="Apache-2.0 (annotations); script of a TV series, research use",
    obtain="repository declare-lab/MELD, folder data/emorynlp (free, no form)",
    size="9,489 utterances in 827 scenes, 1 MB",
    layout="emorynlp_train_final.csv, emorynlp_dev_final.csv, emorynlp_test_final.csv",
    citation="Zahiri, Choi: Emotion detection on TV show transcripts with sequence-based convolutional neural "
    "networks, AAAI workshops 2018",
    labels=orders("emorynlp7"),
    counts={"train": 7551, "valid": 954, "test": 984},
    leaks={
        "group:speaker": "the same people speak in all parts",
        "text": "short turns recur",
        "near text": "small changes of such turns",
    },
)

_LISTS = (("train", "train"), ("dev", "valid"), ("test", "test"))
_HEADER = (
    "Utterance", "Speaker", "Emotion", "Scene_ID", "Utterance_ID", "Season", "Episode", "Start_Time", "End_Time",
)  # fmt: skip


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:emorynlp7`, `group:` dialogue (a scene), speaker, episode, `meta:` turn and episode times."""
    found = False
    for name, split in _LISTS:
        for ref in files.match(f"emorynlp_{name}_final.csv"):
            found = True
            for line, row in files.records(ref):
                if (filled := _row(row, ref, line, notes)) is not None:
                    yield {**filled, "split": split}
    if not found:
        raise CorpusError(files.root, "none of emorynlp_train_, _dev_, _test_final.csv is there", INFO.obtain)


def _speakers(written: str) -> list[str]:
    try:
        listed = ast.literal_eval(written)
    except (ValueError, SyntaxError):
        return []
    return [str(s) for s in listed] if isinstance(listed, list) else []


def _row(row: dict[str, Any], ref: str, line: int, notes: Notes) -> dict[str, Any] | None:
    label = notes.lookup("emorynlp7", row.get("Emotion"), ref, line)
    speakers = _speakers(row.get("Speaker") or "")
    places = [row.get(k) or "" for k in ("Season", "Episode", "Scene_ID", "Utterance_ID")]
    if not speakers or not all(p.isdigit() for p in places):
        notes.error(ref, line, "speaker is no list or scene numbers are missing", "fetch the file again")
        return None
    if label is None:
        return None
    season, episode, scene, turn = (int(p) for p in places)
    speaker = " and ".join(speakers)
    return {
        "id": f"s{season:02d}e{episode:02d}_c{scene:02d}_u{turn:03d}",
        "text": mend(row["Utterance"]),
        "speaker": speaker,
        "group:dialogue": f"s{season:02d}e{episode:02d}_c{scene:02d}",
        "group:speaker": speaker,
        "group:episode": f"s{season:02d}e{episode:02d}",
        "label:emorynlp7": label,
        "meta:turn": turn,
        "meta:episode_start": seconds(row.get("Start_Time")),
        "meta:episode_end": seconds(row.get("End_Time")),
    }


def write_tiny(tiny: Tiny) -> None:
    """Two scenes per split, one turn spoken by two people."""
    for number, (name, _) in enumerate(_LISTS):
        rows = []
        for k in range(7):
            who = "['Monica Geller', 'Ross Geller']" if k == 2 else "['Joey Tribbiani']"
            clock = [f"00:01:{5 * k + d:02d}.25{d}" for d in (0, 3)]
            rows.append((tiny.text(), who, INFO.labels["emorynlp7"][k], k // 4 + 1, k % 4 + 1, 1, number + 1, *clock))
        tiny.table(f"emorynlp_{name}_final.csv", _HEADER, rows)

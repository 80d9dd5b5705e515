"""ArtEmis: paintings with the emotion they evoke and the reason in the viewer's words (Achlioptas et al. 2021).

`artemis_preprocessed.csv` has art_style, painting, emotion, utterance, split (among others); version 2.0 files have the
same columns. `artEmisX_{train,val,test}.json` of SEVLM is read too. File names of paintings hold characters outside
ASCII that some unpackers write as `#Uxxxx`; both spellings are looked for. The official histogram is per painting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from affectus.corpora.base import SPLIT_NAMES, CorpusInfo, Notes, orders
from affectus.corpora.files import Files
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

INFO = CorpusInfo(
    name="artemis",
    title="ArtEmis",
    modalities=("image", "text"),
    perspective="evoked",
    licence="annotations: terms of ArtEmis, non-commercial research; paintings: WikiArt",
    obtain="form on the ArtEmis page; paintings: WikiArt archive of ArtGAN",
    size="80,031 paintings, 454,684 reasons (version 1.0)",
    layout="artemis_preprocessed.csv, wikiart/<style>/<artist>_<title>.jpg; or artEmisX_{train,val,test}.json",
    citation="Achlioptas, Ovsjanikov, Haydarov, Elhoseiny, Guibas: ArtEmis: affective language for visual art, CVPR "
    "2021",
    labels=orders("artemis9"),
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `label:artemis9`, `text` (the reason), `group:painting`, `meta:style`, `dist:artemis9` where given."""
    pictures = {
        _spelled(f"{files.folders(r)[0]}/{files.stem(r)}"): r for r in files.logical if files.suffix(r) == ".jpg"
    }
    lists = [r for name in ("artemis_preprocessed.csv", "artemis*.csv") for r in files.match(name)][:1]
    written = [(s, r) for k, s in SPLIT_NAMES.items() for r in files.match(f"artEmisX_{k}.json")]
    if not lists and not written:
        raise CorpusError(files.root, "no artemis_preprocessed.csv or artEmisX_*.json", INFO.obtain)
    for ref in lists:
        for line, row in files.records(ref):
            label = notes.lookup("artemis9", row.get("emotion"), ref, line)
            if label is not None:
                name = f"{row['art_style']}/{row['painting']}"
                yield {
                    "id": str(line - 2),
                    "split": SPLIT_NAMES.get((row.get("split") or "").lower()),
                    "media": pictures.get(_spelled(name)),
                    "text": row.get("utterance_spelled") or row.get("utterance"),
                    "group:painting": name,
                    "label:artemis9": label,
                    "meta:style": row["art_style"],
                }
    for split, ref in [] if lists else written:
        for number, (key, item) in enumerate(json.loads(files.text(ref)).items(), 1):
            name = item["image_name"].removesuffix(".jpg")
            shares = [float(v) for v in item.get("origin_emotion_distribution") or ()]
            total = sum(shares)
            for k, (emotion, reason) in enumerate(zip(item["emotions"], item["explanations"], strict=True)):
                label = notes.lookup("artemis9", emotion, ref, number)
                if label is not None:
                    yield {
                        "id": f"{split}/{key}_{k}",
                        "split": split,
                        "media": pictures.get(_spelled(name)),
                        "text": reason,
                        "group:painting": name,
                        "label:artemis9": label,
                        "meta:style": name.partition("/")[0],
                        "dist:artemis9": [v / total for v in shares] if total else None,
                    }


def _spelled(name: str) -> str:
    return re.sub(r"#U([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), name)


def write_tiny(tiny: Tiny) -> None:
    """Nine reasons for three paintings, one with an escaped name."""
    rows = []
    for k, label in enumerate(INFO.labels["artemis9"]):
        title = ("vincent_stars", "paul-gauguin_tahiti", "édouard-manet_olympia")[k // 3]
        rows.append(("Impressionism", title, label, tiny.text(label), 0, ("train", "val", "test")[k // 3]))
    header = ("art_style", "painting", "emotion", "utterance", "repetition", "split")
    tiny.table("artemis_preprocessed.csv", header, rows)
    for stem in ("vincent_stars", "paul-gauguin_tahiti", "#U00e9douard-manet_olympia"):
        tiny.image(f"wikiart/Impressionism/{stem}.jpg", "neutral", 32)

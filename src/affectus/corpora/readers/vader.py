"""VADER: tweets and sentences of reviews and editorials with rated valence (Hutto & Gilbert 2014).

Of each of four sources, `SOURCE_GroundTruth.txt` holds id, mean valence and text, `SOURCE_anonDataRatings.txt` id,
mean, standard deviation and the rating of every person, from -4 to 4; both are tab-separated without a header. What a
text says was rated, hence *expressed*. Ids of Amazon and NYT snippets are `DOCUMENT_SENTENCE`; of the movie snippets
the review is not known, so each stands for itself.

200 tweets are made up: one sentence with more or fewer capitals, exclamation marks and words like "very". All but one
of them carry another mean in the first file (which rises with the emphasis) than their ratings have in the second.
`dim:valence` is the mean of the first file, `meta:ratings` and `meta:valence_sd` belong to `meta:ratings_mean`.

The publishers give no split; this one is dealt here. Documents and texts that differ only in such emphasis are linked,
and a linked group goes by the number of its first document: to `test` where it ends in 0, to `valid` where it ends in
5, else to `train`. So every source has its share in each part, and no review or editorial is cut.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from affectus.corpora.base import CorpusInfo, Notes, rescale
from affectus.corpora.files import Files
from affectus.corpora.leaks import plain_text
from affectus.corpora.splits import linked_groups
from affectus.corpora.synthetic import Tiny
from affectus.errors import CorpusError

#: Source → start of its file names and published number of texts.
SOURCES: dict[str, tuple[str, int]] = {
    "tweets": ("tweets", 4200),
    "amazon": ("amazonReviewSnippets", 3708),
    "movies": ("movieReviewSnippets", 10605),
    "nyt": ("nytEditorialSnippets", 5190),
}
#: Words that the made-up tweets add to strengthen a sentence.
STRENGTHENERS = frozenset(
    ("absolutely", "especially", "extremely", "fucking", "major", "really", "seriously", "super", "uber", "very")
)
_PACKED = "hutto_ICWSM_2014.tar.gz"

INFO = CorpusInfo(
    name="vader",
    title="VADER sentences",
    modalities=("text",),
    perspective="expressed",
    licence="MIT (as distributed with vaderSentiment; the texts are of Twitter users, reviewers and a newspaper)",
    obtain=f"source archive of the Python package vaderSentiment 3.3.2, additional_resources/{_PACKED} (free, no form)",
    size="23,703 texts, 5 MB; no published split, dealt here by document (80, 10 and 10 %)",
    layout="{tweets,amazonReviewSnippets,movieReviewSnippets,nytEditorialSnippets}_GroundTruth.txt (id, mean, text) "
    "and …_anonDataRatings.txt (id, mean, SD, list of ratings), tab-separated",
    citation="Hutto, Gilbert: VADER: a parsimonious rule-based model for sentiment analysis of social media text, "
    "ICWSM 2014",
    units={"valence": "-4…4"},
    counts={"all": sum(count for _, count in SOURCES.values())},
)


def read(files: Files, notes: Notes) -> Iterator[dict[str, Any]]:
    """Columns `text`, `dim:`/`raw:` valence, `group:document`, `meta:` source, ratings, their mean, SD and number."""
    lists = [(source, r) for source, (stem, _) in SOURCES.items() for r in files.match(f"{stem}_GroundTruth.txt")]
    if not lists and files.match(_PACKED):
        raise CorpusError(files.root, f"{_PACKED} lies in an archive within the archive", "unpack the outer archive")
    if not lists:
        raise CorpusError(files.root, "no *_GroundTruth.txt", INFO.obtain)
    rows = [row for source, ref in lists for row in _source(files, source, ref, notes)]
    documents = [row["group:document"] for row in rows]
    keys = pa.table({"document": documents, "wording": [_wording(row["text"]) for row in rows]})
    groups = linked_groups(keys, ["document", "wording"])
    first = np.unique(groups, return_index=True)[1]
    for row, group in zip(rows, groups, strict=True):
        document = documents[first[group]]
        yield {**row, "group:document": document, "split": {"0": "test", "5": "valid"}.get(document[-1], "train")}


def _wording(text: str) -> str | None:
    """What stays of a text without its emphasis: each word once, in order; None for fewer than three words."""
    words = dict.fromkeys(word for word in plain_text(text).split() if word not in STRENGTHENERS)
    return " ".join(words) if len(words) >= 3 else None


def _source(files: Files, source: str, ref: str, notes: Notes) -> Iterator[dict[str, Any]]:
    lists = files.beside(ref, f"{SOURCES[source][0]}_anonDataRatings.txt")
    rated = _ratings(files, lists, notes) if lists else {}
    if not lists:
        notes.warn(ref, 0, f"no {SOURCES[source][0]}_anonDataRatings.txt beside it", "the spread of ratings is unknown")
    for line, cells in files.cells(ref):
        if len(cells) != 3:
            notes.error(ref, line, f"expected id, mean and text, found {len(cells)} field(s)", "fetch the file again")
            continue
        name, mean, text = cells[0].strip(), notes.number(cells[1], -4, 4, "mean", ref, line), cells[2].strip()
        document = name.partition("_")[0]
        if not document.isdecimal():
            notes.error(ref, line, f"malformed id {name!r}", "fetch the file again")
        elif lists and name not in rated:
            notes.error(ref, line, f"no ratings of item {name}", f"fetch {lists} again")
        elif mean is not None:
            yield {
                "id": f"{source}/{name}",
                "text": html.unescape(text),
                "group:document": f"{source}/{document}",
                "dim:valence": rescale(mean, -4, 4),
                "raw:valence": mean,
                "meta:source": source,
                **rated.get(name, {}),
            }


def _ratings(files: Files, ref: str, notes: Notes) -> dict[str, dict[str, Any]]:
    """`meta:` columns of each item; the stated mean must be that of the ratings listed."""
    rated: dict[str, dict[str, Any]] = {}
    for line, cells in files.cells(ref):
        ratings = _listed(cells[3]) if len(cells) == 4 else None
        if not ratings:
            notes.error(ref, line, "expected id, mean, SD and a list of ratings from -4 to 4", "fetch the file again")
            continue
        mean = notes.number(cells[1], -4, 4, "mean", ref, line)
        spread = notes.number(cells[2], 0, 4, "SD", ref, line)
        if mean is None or spread is None:
            continue
        if abs(np.mean(ratings) - mean) > 1e-4:
            reason = f"mean is {mean:g}, but the {len(ratings)} ratings average {np.mean(ratings):.4f}"
            notes.error(ref, line, reason, "fetch the file again")
            continue
        rated[cells[0].strip()] = {
            "meta:ratings": ratings,
            "meta:ratings_mean": mean,
            "meta:valence_sd": spread,
            "meta:valence_n": len(ratings),
        }
    return rated


def _listed(cell: str) -> list[int] | None:
    """`[3, -1, …]` as numbers, None where it is anything else."""
    try:
        ratings = json.loads(cell)
    except ValueError:
        return None
    whole = isinstance(ratings, list) and all(type(r) is int and -4 <= r <= 4 for r in ratings)
    return ratings if whole else None


def check(files: Files, table: pa.Table, notes: Notes) -> None:
    """Compare the number of texts of each source with the published one."""
    found = Counter(table["meta:source"].to_pylist() if "meta:source" in table.column_names else ())
    for source, (stem, count) in SOURCES.items():
        if found[source] not in (0, count):
            notes.warn(f"{stem}_GroundTruth.txt", 0, f"{found[source]} texts were read, published are {count}")
        elif found and not found[source]:
            notes.warn(f"{stem}_GroundTruth.txt", 0, "is missing", INFO.obtain)


def write_tiny(tiny: Tiny) -> None:
    """Twenty texts per source, two of each document; one tweet is another with more emphasis."""
    moods = ("happiness", "anger", "neutral")
    for source, (stem, _) in SOURCES.items():
        paired = source in ("amazon", "nyt")
        names = [f"{k // 2 + 1}_{k % 2 + 1}" if paired else str(k + 1) for k in range(20)]
        texts = [tiny.text(moods[k % 3]) for k in range(20)]
        if source == "tweets":
            texts[9] = f"{texts[0].upper()}!! Really"
        ratings = [[k % 5 - 2, k % 3, k % 4 - 2, 1] for k in range(20)]
        means = [sum(listed) / 4 for listed in ratings]
        truth = [f"{n}\t{m}\t{t}" for n, m, t in zip(names, means, texts, strict=True)]
        rated = [f"{n}\t{m}\t{np.std(r):.5f}\t{r}" for n, m, r in zip(names, means, ratings, strict=True)]
        for kind, lines in (("GroundTruth", truth), ("anonDataRatings", rated)):
            tiny.lines(f"hutto_ICWSM_2014/{stem}_{kind}.txt", lines, end="\r\n")

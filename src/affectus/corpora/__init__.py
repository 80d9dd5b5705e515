"""Published corpora in their published layouts → one Arrow table each, with media decoded on demand.

`corpora.load("ferplus", "FER2013Test.tar.gz").table`; see `affectus.corpora.base` for the columns.
"""

from affectus.corpora.base import CorpusInfo, Notes, Problem
from affectus.corpora.conflicts import conflict_counts, conflict_sets
from affectus.corpora.corpus import Corpus
from affectus.corpora.files import Files
from affectus.corpora.registry import check, info, load, names, reader, write_tiny

__all__ = [
    "Corpus",
    "CorpusInfo",
    "Files",
    "Notes",
    "Problem",
    "check",
    "conflict_counts",
    "conflict_sets",
    "info",
    "load",
    "names",
    "reader",
    "write_tiny",
]

"""Labelled sentences that are shown to a language model beside the one it is asked about: the nearest of a store.

    store = DemonstrationStore.of(demonstrations, SentenceVectors("minilm-l6"))
    store.write(folder); store = DemonstrationStore.open(folder, "minilm-l6")
    store.nearest(vectors, 3, "meld7", own=[("meld", "train/dia0", "train/dia0_utt3")], texts=["I won!"])

A store is an `EmbeddingIndex` with the sentences, their labels and where they come from beside it; the index knows the
model that made its vectors and refuses another. Labels are mapped to the label space that is asked for; sentences whose
label has no counterpart there are passed over. An item never finds itself (same corpus, conversation and utterance);
`duplicates=False` also passes over sentences with the very words of the query.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from affectus.corpora.leaks import plain_text
from affectus.errors import ConfigError, LabelError
from affectus.labels import LabelSpace, map_between, space
from affectus.lm.retrieval import EmbeddingIndex, Floats

if TYPE_CHECKING:
    from affectus.corpora import Corpus

_FILE = "demonstrations.json"
#: Corpus, conversation and utterance of a sentence.
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Demonstration:
    """A sentence with its label in a label space, and where it comes from."""

    text: str
    label: str
    space: str
    dataset: str
    conversation: str = ""
    utterance: str = ""

    @property
    def key(self) -> Key:
        """What tells it from all others; empty ids never match."""
        return self.dataset, self.conversation, self.utterance


@dataclass(frozen=True)
class Shown:
    """A demonstration as it is shown: label in the space that was asked for, and its cosine to the query."""

    text: str
    label: str
    dataset: str
    similarity: float


class SentenceVectors:
    """Vectors of length one of sentences by an encoder of `affectus.nn.text`; `model` names it.

    Random encoders (`ngrams:…`, `new:…`) get the same weights every time. A text in which the encoder finds nothing
    gives zeros.
    """

    def __init__(self, model: str, length: int = 128) -> None:
        self.model, self.length = model, length

    @cached_property
    def _encoder(self) -> Any:
        import torch

        from affectus.nn.text import SentenceEncoder

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return SentenceEncoder(self.model, "mean", self.length).eval()

    def __call__(self, texts: Sequence[str], batch: int = 64) -> Floats:
        """Texts (n) → float32 (n, width)."""
        import torch

        spec = self._encoder.spec()
        # Sentences of like length together, for what is padded is computed.
        order = np.argsort([len(text) for text in texts], kind="stable")
        out = np.zeros((len(texts), self._encoder.width), np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                rows = order[start : start + batch].tolist()
                ids = torch.from_numpy(np.stack([spec(texts[row]) for row in rows]))
                out[rows] = self._encoder(ids).numpy()
        lengths = np.linalg.norm(out, axis=1, keepdims=True)
        return np.asarray(out / np.where(lengths > 0, lengths, 1), np.float32)


@dataclass(frozen=True)
class DemonstrationStore:
    """An index and the demonstration of each of its rows."""

    index: EmbeddingIndex
    demonstrations: tuple[Demonstration, ...]

    @classmethod
    def of(cls, demonstrations: Sequence[Demonstration], vectors: SentenceVectors) -> DemonstrationStore:
        """A store in memory; sentences without words are left out. ConfigError when none is left."""
        made = vectors([one.text for one in demonstrations])
        kept = np.flatnonzero(np.abs(made).sum(1) > 0)
        if not len(kept):
            raise ConfigError("demonstrations", "there is no sentence with words", "give labelled sentences")
        ids = tuple(str(i) for i in range(len(kept)))
        return cls(EmbeddingIndex(made[kept], ids, vectors.model), tuple(demonstrations[int(i)] for i in kept))

    def write(self, folder: str | Path) -> Path:
        """Write it to a folder that `open` reads."""
        place = Path(folder)
        EmbeddingIndex.build(place, [self.index.vectors], self.index.ids, self.index.model)
        records = [asdict(one) for one in self.demonstrations]
        (place / _FILE).write_text(json.dumps(records, ensure_ascii=False) + "\n", encoding="utf-8")
        return place

    @classmethod
    def open(cls, folder: str | Path, model: str) -> DemonstrationStore:
        """A written store; ModelError when its vectors are those of another model, ConfigError when it is damaged."""
        index = EmbeddingIndex.open(folder, model)
        try:
            records = json.loads((Path(folder) / _FILE).read_text(encoding="utf-8"))
            found = tuple(Demonstration(**record) for record in records)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(Path(folder) / _FILE, f"is no list of demonstrations: {error}") from None
        if len(found) != len(index):
            raise ConfigError(folder, f"holds {len(found)} demonstrations for {len(index)} vectors", "build it again")
        return cls(index, found)

    def __len__(self) -> int:
        return len(self.demonstrations)

    def counts(self) -> dict[str, int]:
        """Sentences by corpus."""
        return dict(Counter(one.dataset for one in self.demonstrations))

    def labels_in(self, target: str) -> list[str | None]:
        """Label of every demonstration in another space, None where it has no counterpart."""
        wanted = space(target)
        known = {(one.space, one.label): _counterpart(one, wanted) for one in self.demonstrations}
        return [known[one.space, one.label] for one in self.demonstrations]

    def nearest(
        self,
        vectors: npt.ArrayLike,
        k: int,
        target: str,
        own: Sequence[Key | None] | None = None,
        texts: Sequence[str] | None = None,
        duplicates: bool = True,
    ) -> list[list[Shown]]:
        """The `k` nearest demonstrations of every query vector (n, width), best first, with labels of `target`.

        `own` says which demonstration each query is itself. Fewer come back where there are no more; a query of zeros
        gets none.
        """
        asked = np.atleast_2d(np.asarray(vectors, np.float32))
        if not duplicates and texts is None:
            raise ConfigError("demonstrations", "the texts of the queries are needed to tell duplicates")
        labels = self.labels_in(target)
        words = [] if duplicates else [_words(one.text) for one in self.demonstrations]
        found: list[list[Shown]] = [[] for _ in asked]
        waiting = np.flatnonzero(np.abs(asked).sum(1) > 0)
        count = k + 8
        while k and len(waiting):
            count = min(count, len(self))
            unfinished = []
            for i, near, similar in zip(waiting.tolist(), *self.index.search(asked[waiting], count), strict=True):
                itself = None if own is None else own[i]
                same = _words(texts[i]) if texts is not None else ""
                kept = [
                    (row, cosine) for row, cosine in zip(near, similar, strict=True)
                    if labels[row] is not None and self.demonstrations[row].key != itself
                    and (not words or words[row] != same)
                ]  # fmt: skip
                found[i] = [self._shown(row, labels[row], cosine) for row, cosine in kept[:k]]
                if len(kept) < k and count < len(self):
                    unfinished.append(i)
            waiting, count = np.array(unfinished, np.int64), count * 8
        return found

    def _shown(self, row: int, label: str | None, cosine: float) -> Shown:
        one = self.demonstrations[row]
        return Shown(one.text, label or "", one.dataset, float(cosine))


def _counterpart(one: Demonstration, wanted: LabelSpace) -> str | None:
    """The label of the same name or meaning in another space, else the one that the map between the spaces gives."""
    if one.label in wanted:
        return wanted.lookup(one.label)
    try:
        return map_between(one.space, wanted.name).label(one.label)
    except LabelError:
        return None


def _words(text: str) -> str:
    """What makes two texts the same; signs count where there is nothing else."""
    return plain_text(text) or text.strip()


def demonstrations_of(corpus: Corpus, column: str) -> list[Demonstration]:
    """Every labelled row of a corpus as a demonstration; `column` is a `label:` column."""
    name = column.partition(":")[2]
    talks = corpus.column("group:dialogue") if "group:dialogue" in corpus.table.column_names else [""] * len(corpus)
    rows = zip(corpus.column("text"), corpus.column(column), talks, corpus.column("id"), strict=True)
    return [Demonstration(text, label, name, corpus.name, talk or "", str(row))
            for text, label, talk, row in rows if label is not None and (text or "").strip()]  # fmt: skip


def released_sentences(path: str | Path, dataset: str = "prc_emo") -> list[Demonstration]:
    """Demonstrations of the released file, a JSON list of `{sentence, label}` in the space `prc_demo5`.

    Raises ConfigError naming the first entry that is none, LabelError for a label of another release.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(path, f"is no JSON file: {error}") from None
    known, found = space("prc_demo5"), []
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        if not isinstance(entry, dict) or not isinstance(entry.get("sentence"), str) or "label" not in entry:
            raise ConfigError(path, f"entry {number} has no sentence and label", "give the released list of both")
        label = known.lookup(str(entry["label"]), path, number + 1)
        found.append(Demonstration(entry["sentence"], label, known.name, dataset, "", str(number)))
    return found

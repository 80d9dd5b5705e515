"""Running an embedded model over a corpus: items in storage order, in batches, past items that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from affectus import assets
from affectus.corpora import Corpus
from affectus.errors import AffectusError, CorpusError, MediaError
from affectus.media.files import AUDIO_SUFFIXES, IMAGE_SUFFIXES, VIDEO_SUFFIXES
from affectus.types import Card, Prediction

Progress = Callable[[int, int], None]

#: Corpora whose pictures have the framing the face model learnt, so that no face is looked for.
FRAMED = ("ferplus", "fer2013")
#: Frames taken from a clip, evenly over its length.
FRAMES_PER_CLIP = 8
_BATCH = 64


class Model(Protocol):
    """What this module needs of an embedded model."""

    card: Card

    def predict(self, batch: Sequence[Any], /) -> list[Prediction]:
        """One prediction per item."""


@dataclass
class Outputs:
    """Predictions for the rows that could be read: `rows` (n,) of the corpus, `scores` (n, K), `dimensions` name →
    (n,), bounds `low`/`high` (n, K) where the model gives them, what was skipped and how items were read."""

    rows: np.ndarray
    scores: np.ndarray
    dimensions: dict[str, np.ndarray]
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    skipped: list[tuple[str, AffectusError | str]] = field(default_factory=list)
    reading: str = ""


class Feed(Protocol):
    """Turns a row of a corpus into the inputs of a model: several for a clip, whose predictions are averaged."""

    @property
    def reading(self) -> str:
        """How items are read, for the record."""

    def __call__(self, corpus: Corpus, row: int) -> list[Any]:
        """Inputs of one row; raises an `AffectusError` when there are none."""


class TextFeed:
    """The words of an item."""

    reading = "text of the item"

    def __call__(self, corpus: Corpus, row: int) -> list[str]:
        text = corpus.table["text"][row].as_py()
        if not (text or "").strip():
            raise CorpusError(f"{corpus.name} row {row}", "has no text")
        return [text]


class AudioFeed:
    """The sound of an item at 16 kHz."""

    reading = "sound of the item, 16 kHz mono"

    def __call__(self, corpus: Corpus, row: int) -> list[np.ndarray]:
        samples = corpus.audio(row)
        if not len(samples):
            raise MediaError(corpus.media(row), "holds no samples in its span")
        return [samples]


class PictureFeed:
    """The pictures of an item: one, or frames of a clip."""

    def __init__(self, reading: str = "whole pictures") -> None:
        self._reading = reading

    @property
    def reading(self) -> str:
        """How items are read."""
        return self._reading

    def __call__(self, corpus: Corpus, row: int) -> list[np.ndarray]:
        ref = corpus.media(row)
        suffix = corpus.files.suffix(ref)
        if suffix in IMAGE_SUFFIXES:
            return [corpus.image(row)]
        if suffix in VIDEO_SUFFIXES:
            return self._frames_of_video(corpus, row)
        frames = corpus.frames(row)
        if not frames:
            raise MediaError(ref, "holds no pictures")
        return [frames[i] for i in _spread(len(frames))]

    @staticmethod
    def _frames_of_video(corpus: Corpus, row: int) -> list[np.ndarray]:
        from affectus.media import video_frames

        start, end = (corpus.table[c][row].as_py() for c in ("start", "end"))
        with corpus.local(row) as path:
            frames = [frame.image for frame in video_frames(path, 5.0, 640, start or 0.0, end)]
        if not frames:
            raise MediaError(corpus.media(row), "holds no pictures")
        return [frames[i] for i in _spread(len(frames))]


class FaceFeed(PictureFeed):
    """The largest face of each picture, aligned as the model wants it; the whole picture where none is found."""

    def __init__(self, model: Any) -> None:
        from affectus.media.faces import FaceDetector

        super().__init__()
        self._detector, self._model = FaceDetector(), model
        self.faces = self.pictures = 0

    @property
    def reading(self) -> str:
        """How the crops were made."""
        return f"largest detected face, aligned ({self.faces} of {self.pictures} pictures; else the whole picture)"

    def __call__(self, corpus: Corpus, row: int) -> list[np.ndarray]:
        return [self._crop(image) for image in super().__call__(corpus, row)]

    def _crop(self, image: np.ndarray) -> np.ndarray:
        from affectus.media.alignment import align

        self.pictures += 1
        found = self._detector.detect(image)
        if not found:
            return image
        self.faces += 1
        face = max(found, key=lambda f: f.box[2] * f.box[3])
        return align(image, face.points, self._model.size, self._model.template)


def _spread(count: int) -> np.ndarray:
    """Positions of at most `FRAMES_PER_CLIP` frames, each in the middle of an equal share of the clip."""
    taken = min(count, FRAMES_PER_CLIP)
    return ((np.arange(taken) + 0.5) * count / taken).astype(int)


def feed_for(model: Any, corpus: Corpus) -> Feed:
    """How this model reads this corpus. CorpusError when the corpus has nothing for it."""
    modality = model.card.modality
    if modality == "words":
        if corpus.table["text"].null_count == len(corpus):
            raise CorpusError(corpus.name, "has no texts for the words model")
        return TextFeed()
    refs = [ref for ref in corpus.column("media") if ref]
    if not refs:
        raise CorpusError(corpus.files.root, "holds annotations but no media files", corpus.info.obtain)
    if modality == "voice":
        return AudioFeed()
    if modality == "face" and corpus.name not in FRAMED and assets.available("yunet"):
        return FaceFeed(model)
    if modality == "face" and corpus.name not in FRAMED:
        return PictureFeed("whole pictures, as no face detector is installed (affectus assets get yunet)")
    return PictureFeed()


def usable_rows(corpus: Corpus, modality: str) -> tuple[np.ndarray, dict[str, int]]:
    """Rows whose medium this modality can read, and how many others there are, by reason.

    Of RAVDESS only speech with sound is used, as the silent films and the songs are other tasks, and films whose sound
    is also there as a recording are not counted twice.
    """
    if modality == "words":
        return np.arange(len(corpus)), {}
    suffixes = {
        "voice": (*AUDIO_SUFFIXES, *VIDEO_SUFFIXES),
        "scene": (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ""),
        "face": (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ""),
    }[modality]
    kept = np.array([bool(ref) and corpus.files.suffix(ref) in suffixes for ref in corpus.column("media")], bool)
    left_out = {f"no file that the {modality} model can read": int((~kept).sum())}
    if corpus.name == "ravdess" and modality == "voice":
        speech = np.array([c == "speech" for c in corpus.column("meta:channel")])
        sound = np.array(corpus.column("meta:modality"))
        wanted = "audio" if (sound[speech & kept] == "audio").any() else "video with sound"
        left_out["songs"] = int((kept & ~speech).sum())
        left_out["silent films, and films whose sound is scored already"] = int(
            (kept & speech & (sound != wanted)).sum()
        )
        kept &= speech & (sound == wanted)
    return np.flatnonzero(kept), {reason: count for reason, count in left_out.items() if count}


def run(model: Model, corpus: Corpus, rows: np.ndarray, progress: Progress | None = None) -> Outputs:
    """Predictions for the given rows. Items that cannot be read go to `skipped`; CorpusError when none is left."""
    feed = feed_for(model, corpus)
    done: list[int] = []
    predictions: list[Prediction] = []
    skipped: list[tuple[str, AffectusError | str]] = []
    for batch, counts, failed in _batches(feed, corpus, _stored_order(corpus, rows)):
        skipped += failed
        made = iter(model.predict(batch))
        for row, count in counts:
            done.append(row)
            predictions.append(_mean([next(made) for _ in range(count)]))
        if progress is not None:
            progress(len(done) + len(skipped), len(rows))
    if not done:
        why = f"; first: {getattr(skipped[0][1], 'reason', skipped[0][1])}" if skipped else ""
        raise CorpusError(corpus.files.root, f"holds no item that the {model.card.name} model can read{why}")
    return _outputs(np.asarray(done), predictions, skipped, feed.reading)


def _stored_order(corpus: Corpus, rows: np.ndarray) -> list[int]:
    """Rows in the order in which their files lie on disk, so that archives are read in one pass."""
    refs = corpus.column("media")
    if not any(refs):
        return [int(row) for row in rows]
    places = {ref: corpus.files.order(ref) for ref in {refs[row] for row in rows} if ref in corpus.files}
    return sorted((int(row) for row in rows), key=lambda row: places.get(refs[row], ("", 0, refs[row] or "")))


Batch = tuple[list[Any], list[tuple[int, int]], list[tuple[str, AffectusError | str]]]


def _batches(feed: Feed, corpus: Corpus, rows: Sequence[int]) -> Iterator[Batch]:
    """Inputs, `(row, number of inputs)` and failures, of about `_BATCH` inputs each."""
    inputs: list[Any] = []
    counts: list[tuple[int, int]] = []
    failed: list[tuple[str, AffectusError | str]] = []
    for row in rows:
        try:
            own = feed(corpus, row)
        except AffectusError as error:
            failed.append((error.subject or str(corpus.table["id"][row].as_py()), error))
            continue
        inputs += own
        counts.append((row, len(own)))
        if len(inputs) >= _BATCH:
            yield inputs, counts, failed
            inputs, counts, failed = [], [], []
    if inputs or failed:
        yield inputs, counts, failed


def _mean(parts: list[Prediction]) -> Prediction:
    """The mean of the predictions for the frames of one item."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    low = [p.low for p in parts if p.low is not None]
    high = [p.high for p in parts if p.high is not None]
    return Prediction(
        first.space,
        first.labels,
        np.mean([p.scores for p in parts], axis=0),
        first.perspective,
        np.mean(low, axis=0) if low else None,
        np.mean(high, axis=0) if high else None,
        {name: float(np.mean([p.dimensions[name] for p in parts])) for name in first.dimensions},
    )


def _outputs(
    rows: np.ndarray, made: list[Prediction], skipped: list[tuple[str, AffectusError | str]], reading: str
) -> Outputs:
    order = np.argsort(rows, kind="stable")
    made = [made[i] for i in order]
    names = made[0].dimensions

    def stacked(name: str) -> np.ndarray | None:
        return None if getattr(made[0], name) is None else np.stack([getattr(p, name) for p in made])

    return Outputs(
        rows[order],
        np.stack([np.asarray(p.scores, np.float64) for p in made]),
        {name: np.array([p.dimensions[name] for p in made], np.float64) for name in names},
        stacked("low"),
        stacked("high"),
        skipped,
        reading,
    )

"""The nouns every room shares: small frozen containers over numpy arrays.

Times are seconds from the start of the file, boxes are `(x, y, width, height)` in pixels of the analysed frame,
images are RGB uint8 `(height, width, 3)`, audio is float32 mono in [-1, 1].
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

Perspective = Literal["expressed", "evoked", "felt"]
Source = Literal["face", "voice", "words", "scene", "fusion"]


@dataclass(frozen=True)
class Window:
    """A span of time `[start, end)` in seconds."""

    start: float
    end: float

    @property
    def length(self) -> float:
        """Duration in seconds, never negative."""
        return max(0.0, self.end - self.start)

    def overlap(self, other: Window) -> float:
        """Seconds shared with another window."""
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))


@dataclass(frozen=True)
class Frame:
    """One decoded picture: running number in the sampled sequence, time stamp (s) and RGB pixels."""

    index: int
    time: float
    image: np.ndarray


@dataclass(frozen=True)
class Turn:
    """One stretch of text, spoken or written. `start`/`end` are NaN for plain text without times."""

    text: str
    start: float = float("nan")
    end: float = float("nan")
    speaker: str = ""
    language: str = ""
    row: int = -1


@dataclass(frozen=True)
class Conversation:
    """An ordered list of turns with an id."""

    id: str
    turns: tuple[Turn, ...]

    @property
    def speakers(self) -> tuple[str, ...]:
        """Speaker names in order of first appearance."""
        return tuple(dict.fromkeys(t.speaker for t in self.turns))


@dataclass(frozen=True)
class Clip:
    """A span of a recording with whatever modalities were read from it."""

    path: Path | None
    window: Window
    frames: tuple[Frame, ...] = ()
    audio: np.ndarray | None = None
    rate: int = 16000
    turns: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Face:
    """One detected face in one frame: box (x, y, w, h), five points (5, 2) in the order right eye, left eye, nose tip,
    right mouth corner, left mouth corner (subject's side), detector score in [0, 1] and quality in [0, 1]."""

    box: tuple[float, float, float, float]
    points: np.ndarray
    score: float
    quality: float = 1.0


@dataclass(frozen=True)
class Track:
    """One face over time: parallel lists of frame numbers, times and faces."""

    id: int
    frames: tuple[int, ...]
    times: tuple[float, ...]
    faces: tuple[Face, ...]


@dataclass(frozen=True)
class Prediction:
    """What a model says about one item: a score per label of a label space.

    `scores` are probabilities (sum to one, or independent ones for a multi-label space) or values of a dimension;
    `low`/`high` bound them where the model knows its uncertainty. `dimensions` holds valence, arousal, dominance.
    """

    space: str
    labels: tuple[str, ...]
    scores: np.ndarray
    perspective: Perspective = "expressed"
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    dimensions: Mapping[str, float] = field(default_factory=dict)

    def top(self) -> tuple[str, float]:
        """Label with the highest score, and that score; ("", NaN) when there is none (an empty list of words)."""
        if not self.labels:
            return "", float("nan")
        best = int(np.argmax(self.scores))
        return self.labels[best], float(self.scores[best])


@dataclass(frozen=True)
class Card:
    """What a model is, where it comes from and how well it works; stored as `card.json` beside the weights.

    Sequences are held as tuples however they were given, so that a card equals the one read back from its file.
    """

    name: str
    title: str
    version: str
    modality: Source
    task: str
    perspective: Perspective
    space: str
    labels: tuple[str, ...]
    dimensions: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[Mapping[str, Any], ...] = ()
    licence: Mapping[str, str] = field(default_factory=dict)
    backbone: Mapping[str, str] = field(default_factory=dict)
    split: str = ""
    selection: str = ""
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    n: int = 0
    calibration: Mapping[str, Any] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    baselines: Mapping[str, Any] = field(default_factory=dict)
    speed: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    recipe: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("labels", "dimensions", "data", "limits"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "confusion", tuple(tuple(row) for row in self.confusion))

    @classmethod
    def read(cls, path: Path) -> Card:
        """Read a `card.json`; unknown fields are an error so that cards cannot drift."""
        record = json.loads(path.read_text(encoding="utf-8"))
        known = {f.name for f in fields(cls)}
        if unknown := set(record) - known:
            raise ValueError(f"{path}: unknown card fields {sorted(unknown)}")
        return cls(**record)

    def write(self, path: Path) -> None:
        """Write as indented JSON."""
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


#: Columns of a timeline and their Arrow types; see `Timeline`.
TIMELINE_COLUMNS: dict[str, str] = {
    "row": "int64",
    "file": "string",
    "start": "float64",
    "end": "float64",
    "frame": "int64",
    "track": "int64",
    "speaker": "string",
    "source": "string",
    "method": "string",
    "perspective": "string",
    "space": "string",
    "label": "string",
    "score": "float64",
    "low": "float64",
    "high": "float64",
    "text": "string",
    "refs": "list<int64>",
}


def timeline_schema() -> pyarrow.Schema:
    """Arrow schema of `TIMELINE_COLUMNS`."""
    import pyarrow as pa

    kinds = {"int64": pa.int64(), "float64": pa.float64(), "string": pa.string(), "list<int64>": pa.list_(pa.int64())}
    return pa.schema([(name, kinds[kind]) for name, kind in TIMELINE_COLUMNS.items()])


@dataclass(frozen=True, repr=False)
class Timeline:
    """The result of an analysis: one long table and the facts that go with it.

    One row is one score at one time. `source` is the modality (`face`, `voice`, `words`, `scene`) or `fusion`;
    `method` the model or rule; `space` the label space of `label`, or one of the reserved spaces
    `va` (labels valence, arousal, dominance in [-1, 1]), `quality`, `transcript` (spoken or written text in `text`),
    `evidence` (a cue; `score` is its signed strength), `explanation` (a sentence in `text` whose `refs` are the rows it
    rests on), `open_words` (label = an open-vocabulary word), `description` (a sentence about a turn, with `refs`),
    `generation` (raw answer of a language model, label = its state, or a sentence taken out of it), `decision` (label
    chosen by fusion or `uncertain`, score = confidence) and `conflict` (label names two modalities, score =
    Jensen-Shannon divergence in bits, 0…1). Conversations add `state` (running state of a speaker, probabilities),
    `shift` (label `before→now` of a speaker's perceived expression, score = divergence in bits), `influence` (label
    `A→B`, score = share of B's replies that take up A's label beyond chance; with method `transition` the probability
    of a step between labels, the pair in `text`) and `gap` (a weak hint that writer and reader may differ); the `label`
    of their `transcript` rows is the id of the conversation where there are several, and `frame` the number of the
    turn. `track` is the face track or -1, `frame` the sampled frame number or -1; `low`/`high` are NaN where unknown.

    `meta` is JSON-like: `version`, `settings`, `models` (cards) and `files`, a map file → `{kind, duration, width,
    height, warnings, missing, thumbnails: {track: data-URI}}`.
    """

    table: pyarrow.Table
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], meta: Mapping[str, Any] | None = None) -> Timeline:
        """Build from dictionaries; missing columns take their neutral value and `row` numbers are filled in order."""
        import pyarrow as pa

        neutral: dict[str, Any] = {"int64": -1, "float64": float("nan"), "string": "", "list<int64>": []}
        rows = list(rows)
        columns: dict[str, list[Any]] = {
            name: [r.get(name, neutral[kind]) for r in rows] for name, kind in TIMELINE_COLUMNS.items()
        }
        columns["row"] = [r.get("row", i) for i, r in enumerate(rows)]
        return cls(pa.table(columns, schema=timeline_schema()), dict(meta or {}))

    def __len__(self) -> int:
        return self.table.num_rows

    def __repr__(self) -> str:
        """What it holds in a few lines, as the table and the pictures in the meta data have no end."""
        import pyarrow.compute as pc

        names = self.files
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        spaces = pc.value_counts(self.table["space"]).to_pylist()
        held = ", ".join(f"{part['values']} {part['counts']}" for part in spaces)
        rows = f"{len(self):,} row{'s' if len(self) != 1 else ''}"
        return f"Timeline: {rows} of {shown or 'no file'}" + (f"\n  rows by space: {held}" if held else "")

    @property
    def files(self) -> list[str]:
        """Names of the analysed files, in order."""
        import pyarrow.compute as pc

        return pc.unique(self.table["file"]).to_pylist()

    def filter(self, **where: Any) -> Timeline:
        """Rows whose columns equal the given values (or are among a given list); `start`/`end` take a time range.

        `timeline.filter(source="face", label=["anger", "fear"], start=10, end=20)`.
        """
        import pyarrow.compute as pc

        mask = None
        for name, wanted in where.items():
            if name not in TIMELINE_COLUMNS:
                raise KeyError(f"no column {name!r}; columns are {', '.join(TIMELINE_COLUMNS)}")
            column = self.table[name]
            if name == "start":
                test = pc.greater_equal(self.table["end"], wanted)
            elif name == "end":
                test = pc.less(self.table["start"], wanted)
            elif isinstance(wanted, (list, tuple, set, frozenset)):
                import pyarrow as pa

                test = pc.is_in(column, value_set=pa.array(list(wanted), column.type))
            else:
                test = pc.equal(column, wanted)
            mask = test if mask is None else pc.and_(mask, test)
        return self if mask is None else Timeline(self.table.filter(mask), self.meta)

    def to_pandas(self) -> pandas.DataFrame:
        """As a pandas data frame (needs pandas)."""
        return self.table.to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """As a polars data frame (needs polars)."""
        import polars

        return polars.from_arrow(self.table)  # type: ignore[return-value]

    def to_rows(self) -> list[dict[str, Any]]:
        """As a list of dictionaries."""
        return self.table.to_pylist()

    def plot(self, file: str | None = None) -> Any:
        """Interactive figure (plotly) of the emotion curves of one file (the first by default)."""
        from affectus.report import figure

        return figure(self, file or (self.files[0] if self.files else ""))

    def save(self, path: str | Path, home: str | Path | None = None) -> Path:
        """Write by suffix: .parquet .csv .json .vtt .eaf .TextGrid .html; returns the path written.

        A report plays the recording by its place relative to its own folder, or to `home` where it will be moved.
        """
        from affectus.report import save

        return save(self, Path(path), home)

    @classmethod
    def read(cls, path: str | Path) -> Timeline:
        """Read back what `save` wrote as .parquet (exact) or .json."""
        from affectus.report import read

        return read(path)

"""Evoked movies: which valence or arousal a film evokes, moment by moment, from pictures, motion and sound.

Thao, Herremans, Roig: "Multimodal deep models for predicting affective responses evoked by movies", ICCV-W 2019.
A continuous rating in [-1, 1] is cut into 7 bins; one network per rating classifies every moment (25 per second) from
frozen features, which lie between 0 and 1 over the film.

    rgb (B, T, 2048), flow (B, T, 2048), audio (B, T, 1582) → one bias-free reducer each → (B, T, 128 · modalities)
    "fc":   T = 1, 128 m → 64 → 64 → 7, no bias, no non-linearity (`activation="relu"` adds them)
    "lstm": T = 5, two LSTM layers of 64 → last step → 7

Loss: cross-entropy of logits / 2. A file is described by the means of T equal stretches of it, for the linear network
the same as the mean over its moments; `trace` predicts every moment and `smooth` makes a continuous curve of that.

Deviations: the picture network sees the middle of the frame (the code crops at random even for features); motion is
OpenCV's flow instead of PWC-Net; functionals are this library's in openSMILE's layout; windows do not cross the border
of a film (`parity="published"` joins all training films first). `Config.plain()` needs no foreign weights: colour
attributes and a description of the motion take the place of the pictures' and motion's networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.corpora import Corpus
from affectus.corpora.readers import cognimuse
from affectus.errors import ConfigError, ModelError
from affectus.features.colour import COLOUR_NAMES
from affectus.features.curves import BINS, bin_of, centre_of, continuous, median3, min_max, segment_means
from affectus.features.flow import MOTION_NAMES
from affectus.features.inputs import ArrayInput, InputSpec
from affectus.metrics import mae, mse, pcc
from affectus.nn.movie_features import (
    MotionNetwork,
    PictureNetwork,
    movie_features,
    plain_motion,
    plain_pictures,
    plain_sound,
)
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, Outputs, System, load_strictly, require
from affectus.systems.card import Published, SystemCard
from affectus.types import Prediction

MODALITIES = ("rgb", "flow", "audio")
LABELS = ("very low", "low", "rather low", "neutral", "rather high", "high", "very high")
_SOURCES = {"rgb": "frames", "flow": "frames", "audio": "audio"}
#: Names of the reducers in published files; those of a single modality are all called after pictures.
_PUBLISHED = {"rgb": "reduced_rgb", "flow": "reduced_OF", "audio": "reduced_audio"}

CARD = SystemCard(
    name="evoked_movies",
    title="Evoked valence and arousal of films, moment by moment",
    year=2019,
    paper="Multimodal Deep Models for Predicting Affective Responses Evoked by Movies, arXiv 1909.06957",
    code="ivyha010/emotionprediction",
    summary="Frozen picture, motion and sound features; linear or LSTM classifiers of 7 steps of evoked affect.",
    modalities=MODALITIES,
    perspective="evoked",
    task="valence or arousal that a film evokes at every moment",
    space="",
    labels=LABELS,
    dimensions=("valence", "arousal"),
    licence={
        "code": "MIT according to its README",
        "weights": "as the code; backbones ImageNet and UCF-101, research",
        "data": "COGNIMUSE: research use",
    },
    weights="ten files of single folds lie in the repository (…/models/2FC/*.pth)",
    published=(
        Published("cognimuse", "pcc arousal", 0.46, "leave one film out", "quoted by a later paper, likely this work"),
        Published("cognimuse", "pcc valence", 0.18, "leave one film out", "quoted by a later paper, likely this work"),
    ),
    deviations=("middle crop instead of a random one", "Farnebäck flow instead of PWC-Net", "windows within a film"),
    limits=(
        "Scaling to [0, 1] over a film needs the whole film.",
        "The published protocol stops on the film it reports; hold out a film within training instead.",
        "Most moments of a film are neutral in valence: compare with the majority class.",
    ),
)


@dataclass(frozen=True)
class Config:
    """Which rating, which modalities, which network. `features` "published" takes 2,048 numbers of networks whose
    weights `rgb_weights` and `flow_weights` name; "plain" takes measurements."""

    target: Literal["valence", "arousal"] = "arousal"
    modalities: tuple[str, ...] = MODALITIES
    sizes: tuple[int, ...] = (2048, 2048, 1582)
    network: Literal["fc", "lstm"] = "fc"
    reduced: int = 128
    hidden: int = 64
    layers: int = 2
    window: int = 5
    activation: Literal["none", "relu"] = "none"
    temperature: float = 2.0
    features: Literal["published", "plain"] = "published"
    rgb_weights: str = ""
    flow_weights: str = ""
    parity: Literal["correct", "published"] = "correct"

    def __post_init__(self) -> None:
        if not self.modalities or len(self.sizes) != len(self.modalities) or set(self.modalities) - set(MODALITIES):
            raise ConfigError(str(self.modalities), "needs one size per modality", f"modalities: {MODALITIES}")

    @property
    def steps(self) -> int:
        """Moments that one prediction looks at."""
        return self.window if self.network == "lstm" else 1

    @classmethod
    def base(cls, target: Literal["valence", "arousal"] = "arousal") -> Config:
        """The linear network on all three modalities."""
        return cls(target)

    @classmethod
    def lstm(cls, target: Literal["valence", "arousal"] = "arousal") -> Config:
        """The recurrent network on all three modalities."""
        return cls(target, network="lstm")

    @classmethod
    def audio(cls, target: Literal["valence", "arousal"] = "arousal") -> Config:
        """The linear network on sound alone."""
        return cls(target, ("audio",), (1582,))

    @classmethod
    def visual(cls, target: Literal["valence", "arousal"] = "arousal") -> Config:
        """The linear network on pictures and motion."""
        return cls(target, ("rgb", "flow"), (2048, 2048))

    @classmethod
    def plain(cls, target: Literal["valence", "arousal"] = "arousal") -> Config:
        """The linear network on measurements that need no foreign weights."""
        return cls(target, sizes=(len(COLOUR_NAMES), len(MOTION_NAMES), 1582), features="plain")

    @classmethod
    def tiny(cls) -> Config:
        """For tests."""
        return cls(sizes=(24, 16, 12), reduced=16, hidden=16)


_Config = Config  # the class below has an attribute of that name


class EvokedMovies(System):
    """The classifier of one rating over frozen features."""

    card = CARD
    Config = Config
    config: _Config
    overfit = (80, 1e-2, 0.5)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        self.reducers = nn.ModuleDict(
            {name: nn.Linear(size, c.reduced, bias=False) for name, size in zip(c.modalities, c.sizes, strict=True)}
        )
        joined = c.reduced * len(c.modalities)
        if c.network == "lstm":
            self.lstm = nn.LSTM(joined, c.hidden, c.layers, batch_first=True)
        else:
            self.fc1 = nn.Linear(joined, c.hidden, bias=False)
            self.fc2 = nn.Linear(c.hidden, c.hidden, bias=False)
        self.classifier = nn.Linear(c.hidden, BINS, bias=c.network == "lstm")
        self.activation = nn.ReLU() if c.activation == "relu" else nn.Identity()

    def makers(self) -> dict[str, Callable]:
        """Functions from decoded frames or sound to features of every moment, by modality."""
        plain = self.config.features == "plain"
        known: dict[str, Callable] = {
            "rgb": plain_pictures if plain else PictureNetwork("resnet50", self.config.rgb_weights),
            "flow": plain_motion if plain else MotionNetwork("resnet101", self.config.flow_weights, 20),
            "audio": plain_sound,
        }
        return {name: known[name] for name in self.config.modalities}

    def inputs(self) -> dict[str, InputSpec]:
        make = self.makers()
        return {
            name: ArrayInput((self.config.steps, size), _SOURCES[name], partial(_described, make[name], self.config))
            for name, size in zip(self.config.modalities, self.config.sizes, strict=True)
        }

    def forward(self, batch: Batch) -> Outputs:
        """Features (B, T, size) or (B, size) per modality → `logits` (B, 7) of the last moment, `embedding`."""
        require(batch, *self.config.modalities)
        given = {name: batch[name] for name in self.config.modalities}
        given = {name: x[:, None] if x.ndim == 2 else x for name, x in given.items()}
        for (name, x), size in zip(given.items(), self.config.sizes, strict=True):
            if x.ndim != 3 or x.shape[2] != size:
                raise ConfigError(name, f"has shape {tuple(x.shape)}; (batch, moments, {size}) is needed")
        x = torch.cat([self.activation(self.reducers[name](x)) for name, x in given.items()], 2)  # (B, T, 128 m)
        if self.config.network == "lstm":
            x = self.lstm(x)[0][:, -1]
        else:
            x = self.fc2(self.activation(self.fc1(x[:, -1])))
        return {"logits": self.classifier(x), "embedding": x}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Cross-entropy at temperature 2; moments labelled -1 do not count."""
        label = batch["label"].long()  # published label files hold float32
        if ((label < -1) | (label >= BINS)).any():
            raise ConfigError("label", f"lies outside of 0 … {BINS - 1}", "bin ratings with features.curves.bin_of")
        scaled = outputs["logits"].float() / self.config.temperature
        known = (label >= 0).sum().clamp(min=1)
        return {"class": functional.cross_entropy(scaled, label, ignore_index=-1, reduction="sum") / known}

    def phases(self) -> list[Phase]:
        """As published: plain SGD, 200 epochs, patience 25, rate and decay 0.005 (0.001 for sound alone and for
        valence from all three by the linear network)."""
        c = self.config
        slow = c.modalities == ("audio",) or (c.target == "valence" and len(c.modalities) == 3 and c.network == "fc")
        rate = 0.001 if slow else 0.005
        return [
            Phase("classifier", 200, rate, 128, weight_decay=rate, warmup=0.0, clip=0.0, optimizer="sgd", momentum=0.0,
                  schedule="constant", patience=25)
        ]  # fmt: skip

    def example(self, count: int, seed: int = 0) -> Batch:
        """Moments whose features follow the rating along fixed directions, plus noise."""
        random, rule = np.random.default_rng(seed), np.random.default_rng(99)
        rating = random.uniform(-1, 1, count)
        batch: Batch = {}
        for name, size in zip(self.config.modalities, self.config.sizes, strict=True):
            noise = random.normal(0, 0.3, (count, self.config.steps, size))
            signal = 0.5 + 0.3 * rating[:, None, None] * rule.normal(size=size) + 0.3 * noise
            batch[name] = torch.from_numpy(np.clip(signal, 0, 1).astype("f4"))
        return batch | {"label": torch.from_numpy(bin_of(rating))}

    def decode(self, outputs: Outputs) -> list[Prediction]:
        """Chances of the seven steps; the dimension is their expected centre."""
        chances = outputs["logits"].detach().float().softmax(-1).cpu().numpy()
        target, expected = self.config.target, chances @ centre_of(np.arange(BINS))
        return [
            Prediction(self.space(), LABELS, row, CARD.perspective, dimensions={target: float(value)})
            for row, value in zip(chances, expected, strict=True)
        ]

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Besides the usual ones: share of moments at most one step off, and correlation of the raw step curve."""
        kept = targets["label"] >= 0
        truth, guess = targets["label"][kept], outputs["logits"][kept].argmax(1)
        found = super().measure(outputs, targets)
        return found | {"accuracy1": within_one(truth, guess), "pcc": pcc(truth, guess) if len(truth) > 1 else 0.0}

    def items(self, corpus: Corpus, column: str) -> MovieMoments:
        """Moments of the films of COGNIMUSE; features are computed from the film's file. `column` names the rating."""
        target = column.rpartition(":")[2] or self.config.target
        if target != self.config.target:
            raise ConfigError(column, f"is not what this network is built for ({self.config.target})")
        makers, films, labels, names = self.makers(), [], [], []
        for row in range(len(corpus)):
            with corpus.local(row) as path:
                features = {name: min_max(x) for name, x in movie_features(path, makers).items()}
            films.append(features)
            curve = cognimuse.curve(corpus, row)[:, 1 + ("valence", "arousal").index(target)]
            labels.append(bin_of(curve))
            names.append(str(corpus.table["id"][row].as_py()))
        return MovieMoments(films, labels, names, self.config.steps, self.config.parity == "published")

    @torch.no_grad()
    def trace(self, features: Mapping[str, np.ndarray], batch_size: int = 1024) -> np.ndarray:
        """Step 0 … 6 of every moment of a film, int64 (moments,), from features (moments, size) already in [0, 1].

        The first moments of the recurrent network see the first moment repeated.
        """
        device = next(self.parameters()).device
        moments = MovieMoments([dict(features)], [np.zeros(len(next(iter(features.values()))), np.int64)], ["film"],
                               self.config.steps)  # fmt: skip
        found = []
        for start in range(0, len(moments), batch_size):
            rows = [moments[i] for i in range(start, min(len(moments), start + batch_size))]
            batch = {n: torch.from_numpy(np.stack([r[n] for r in rows])).to(device) for n in self.config.modalities}
            found.append(self(batch)["logits"].argmax(1).cpu().numpy())
        return np.concatenate(found)

    def follow(self, path: str | Path) -> tuple[np.ndarray, np.ndarray]:
        """Times (s) and smooth curve in about [-1, 1] of what a film evokes, 25 moments per second."""
        features = {name: min_max(x) for name, x in movie_features(path, self.makers()).items()}
        curve = self.smooth(self.eval().trace(features))
        return np.arange(len(curve)) / 25.0, curve

    def smooth(self, steps: np.ndarray) -> np.ndarray:
        """The published chain with the window of this rating and these modalities."""
        return continuous(steps, smoothing_window(self.config.target, self.config.modalities))

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor], config: Any = None) -> Self:
        """Public file of either network; sizes are read from it. A single modality of 2,048 numbers counts as pictures
        unless `config` says otherwise."""
        reducers = [key for key in ("reduced_rgb.weight", "reduced_OF.weight", "reduced_audio.weight") if key in state]
        if not reducers:
            raise ModelError("checkpoint", "holds no reduced_rgb.weight", "give a file of the movie networks")
        sizes = tuple(int(state[key].shape[1]) for key in reducers)
        if len(reducers) == 1:
            names: tuple[str, ...] = ("audio",) if sizes == (1582,) else ("rgb",)
        else:
            names = tuple(name for name, key in _PUBLISHED.items() if f"{key}.weight" in reducers)
        if config is None:
            config = Config(modalities=names, sizes=sizes)
            if "lstm.weight_ih_l0" in state:
                layers = sum(key.startswith("lstm.weight_ih_l") for key in state)
                config = replace(config, network="lstm", layers=layers)
            hidden = int(state["class_dim.weight"].shape[1]) if "class_dim.weight" in state else config.hidden
            config = replace(config, reduced=int(state[reducers[0]].shape[0]), hidden=hidden)
        single = len(config.modalities) == 1
        renamed = {
            f"{'reduced_rgb' if single else _PUBLISHED[n]}.weight": f"reducers.{n}.weight" for n in config.modalities
        }
        renamed |= {f"class_dim.{kind}": f"classifier.{kind}" for kind in ("weight", "bias")}
        system = cls(config)
        load_strictly(system, {renamed.get(key, key): value for key, value in state.items()}, "checkpoint")
        return system


class MovieMoments(Sequence[dict[str, Any]]):
    """Moments of films as items: features of the last `steps` moments by modality, `label`, `id`.

    `joined` (published) takes windows from all films in a row, so that some reach back into the film before; otherwise
    the first moments of a film see its first one repeated.
    """

    def __init__(
        self,
        films: Sequence[Mapping[str, np.ndarray]],
        labels: Sequence[np.ndarray],
        names: Sequence[str],
        steps: int,
        joined: bool = False,
    ) -> None:
        lengths = [min(len(label), *map(len, film.values())) for film, label in zip(films, labels, strict=True)]
        self.features = {
            name: np.concatenate([film[name][:n] for film, n in zip(films, lengths, strict=True)]) for name in films[0]
        }
        self.labels = np.concatenate([label[:n] for label, n in zip(labels, lengths, strict=True)])
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        self.film = np.repeat(np.arange(len(films)), lengths)
        self.names, self.steps, self.joined = names, steps, joined

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Any) -> Any:
        start = 0 if self.joined else int(self.starts[self.film[index]])
        rows = np.maximum(np.arange(index - self.steps + 1, index + 1), start)
        film = int(self.film[index])
        item = {name: values[rows].astype(np.float32) for name, values in self.features.items()}
        return item | {"label": self.labels[index], "id": f"{self.names[film]}:{index - int(self.starts[film])}"}


def within_one(truth: np.ndarray, guess: np.ndarray) -> float:
    """Share of moments at most one step off, in [0, 1]."""
    return float((np.abs(np.asarray(truth) - np.asarray(guess)) <= 1).mean())


def smoothing_window(target: str, modalities: Sequence[str]) -> int:
    """Length of the published moving average (moments): 601 … 1701."""
    kind = tuple(modalities)
    if target == "valence":
        return 1321 if kind == ("audio",) else 901
    return {("rgb", "flow", "audio"): 601, ("audio",): 701, ("rgb", "flow"): 1201, ("rgb",): 1701}.get(kind, 901)


def curve_scores(truth: np.ndarray, smooth: np.ndarray) -> dict[str, float]:
    """MAE, MSE and Pearson r of a smooth prediction against the rating after the same median filter."""
    count = min(len(truth), len(smooth))
    filtered, smooth = median3(truth[:count]), smooth[:count]
    return {"mae": mae(filtered, smooth), "mse": mse(filtered, smooth), "pcc": pcc(filtered, smooth)}


def _described(make: Callable, config: Config, raw: Any) -> np.ndarray:
    return segment_means(min_max(make(raw)), config.steps)


STAGES = {"finetune": EvokedMovies}

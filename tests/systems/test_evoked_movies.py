"""Evoked movies: the acceptance lines of its sheet, published files, whole films, bad input.

Not shown here: numbers on the repository's sample file and on the films themselves, which this project does not hold.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from affectus import corpora
from affectus.corpora.files import Files
from affectus.corpora.readers import cognimuse
from affectus.corpora.synthetic import Tiny
from affectus.errors import AffectusError, ConfigError, CorpusError, ModelError
from affectus.features.curves import bin_of, centre_of, continuous
from affectus.features.inputs import ArrayInput
from affectus.nn.movie_features import MotionNetwork
from affectus.systems.evoked_movies import (
    LABELS,
    Config,
    EvokedMovies,
    MovieMoments,
    curve_scores,
    smoothing_window,
    within_one,
)
from affectus.systems.prediction import predict

SMALL = Config(sizes=(12, 10, 8), reduced=8, hidden=8)


def build(config: Config, seed: int = 0) -> EvokedMovies:
    torch.manual_seed(seed)
    return EvokedMovies(config).eval()


def count(config: Config) -> int:
    return sum(p.numel() for p in build(config).parameters())


@pytest.mark.sheet("Linearity: for the 2FC model f(a x + b y) = a f(x) + b f(y) and f(0)=0.")
def test_linearity() -> None:
    system = build(SMALL)
    x, y = system.example(5, 1), system.example(5, 2)
    mixed = {n: 2.0 * x[n] - 3.0 * y[n] for n in SMALL.modalities}
    with torch.no_grad():
        f = lambda batch: system(batch)["logits"]
        torch.testing.assert_close(f(mixed), 2 * f(x) - 3 * f(y), rtol=1e-4, atol=1e-4)
        assert not f({n: torch.zeros_like(x[n]) for n in SMALL.modalities}).any()
        bent = build(replace(SMALL, activation="relu"))
        assert not torch.allclose(bent(mixed)["logits"], 2 * bent(x)["logits"] - 3 * bent(y)["logits"], atol=1e-3)


@pytest.mark.sheet("Parameter counts equal those above.")
def test_parameter_counts() -> None:
    assert count(Config.audio()) == 215_232
    assert count(Config(modalities=("rgb",), sizes=(2048,))) == 274_880
    assert count(Config(modalities=("flow",), sizes=(2048,))) == 274_880
    assert count(Config.visual()) == 545_216
    assert count(Config.base()) == 755_904


def published(audio_only: bool = False, lstm: bool = False) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(5)
    draw = lambda *shape: torch.randn(*shape, generator=g) * 0.05
    if audio_only:
        state = {"reduced_rgb.weight": draw(128, 1582), "fc1.weight": draw(64, 128)}
    else:
        state = {"reduced_rgb.weight": draw(128, 2048), "reduced_OF.weight": draw(128, 2048)}
        state |= {"reduced_audio.weight": draw(128, 1582), "fc1.weight": draw(64, 384)}
    if lstm:
        state.pop("fc1.weight")
        for layer, width in ((0, 384), (1, 64)):
            state |= {f"lstm.weight_ih_l{layer}": draw(256, width), f"lstm.weight_hh_l{layer}": draw(256, 64)}
            state |= {f"lstm.bias_ih_l{layer}": draw(256), f"lstm.bias_hh_l{layer}": draw(256)}
        return state | {"class_dim.weight": draw(7, 64), "class_dim.bias": draw(7)}
    return state | {"fc2.weight": draw(64, 64), "class_dim.weight": draw(7, 64)}


@pytest.mark.sheet("Published checkpoints load: keys reduced_rgb, reduced_OF, reduced_audio, fc1, fc2, class_dim")
def test_published_linear_files_load_and_agree() -> None:
    state = published()
    system = EvokedMovies.from_published(state).eval()
    assert system.config == Config.base()
    x = {n: torch.rand(3, s) for n, s in zip(system.config.modalities, system.config.sizes, strict=True)}
    parts = [
        x["rgb"] @ state["reduced_rgb.weight"].T,
        x["flow"] @ state["reduced_OF.weight"].T,
        x["audio"] @ state["reduced_audio.weight"].T,
    ]
    wanted = torch.cat(parts, 1) @ state["fc1.weight"].T @ state["fc2.weight"].T @ state["class_dim.weight"].T
    torch.testing.assert_close(system(x)["logits"], wanted, rtol=0, atol=1e-5)


@pytest.mark.sheet("audio-only files name their reducer reduced_rgb.weight (128,1582) too.")
def test_published_sound_files_load() -> None:
    state = published(audio_only=True)
    system = EvokedMovies.from_published(state)
    assert system.config.modalities == ("audio",)
    x = torch.rand(2, 1582)
    wanted = x
    for key in ("reduced_rgb", "fc1", "fc2", "class_dim"):
        wanted = wanted @ state[f"{key}.weight"].T
    torch.testing.assert_close(system({"audio": x})["logits"], wanted, rtol=0, atol=1e-5)
    motion = Config(modalities=("flow",), sizes=(1582,))
    assert EvokedMovies.from_published(state, motion).config.modalities == ("flow",)


def test_published_recurrent_files_load_and_agree() -> None:
    state = published(lstm=True)
    system = EvokedMovies.from_published(state).eval()
    assert system.config == Config.lstm()
    x = {n: torch.rand(2, 5, s) for n, s in zip(system.config.modalities, system.config.sizes, strict=True)}
    reference = nn.LSTM(384, 64, 2, batch_first=True)
    reference.load_state_dict({k.removeprefix("lstm."): v for k, v in state.items() if k.startswith("lstm.")})
    keys = ("reduced_rgb", "reduced_OF", "reduced_audio")
    reduced = torch.cat([x[n] @ state[f"{k}.weight"].T for n, k in zip(x, keys, strict=True)], 2)
    wanted = reference(reduced)[0][:, -1] @ state["class_dim.weight"].T + state["class_dim.bias"]
    torch.testing.assert_close(system(x)["logits"], wanted, rtol=0, atol=1e-5)


def test_wrong_published_files_are_named() -> None:
    state = published()
    with pytest.raises(ModelError, match="missing"):
        EvokedMovies.from_published({k: v for k, v in state.items() if k != "fc2.weight"})
    with pytest.raises(ModelError, match="extra"):
        EvokedMovies.from_published(state | {"extra.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match="reduced_rgb"):
        EvokedMovies.from_published({"something": torch.zeros(1)})


@pytest.mark.sheet("Binning: -1,-0.72,-0.43,-0.14,0,0.15,0.99,1 -> 0,0,1,3,3,4,6,6; centre(class(0)) = 0.")
def test_binning() -> None:
    assert bin_of(np.array([-1, -0.72, -0.43, -0.14, 0, 0.15, 0.99, 1])).tolist() == [0, 0, 1, 3, 3, 4, 6, 6]
    edges = -1 + 2 * np.arange(1, 7) / 7
    assert (bin_of(edges + 1e-9) - bin_of(edges - 1e-9) == 1).all()
    assert centre_of(bin_of(np.array([0.0]))).tolist() == [0.0]


@pytest.mark.sheet("acc+-1 >= acc always; a predictor that is always one off scores 0 and 1.")
def test_accuracy_within_one() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 7, 200)
    for _ in range(20):
        guess = random.integers(0, 7, 200)
        assert within_one(truth, guess) >= (truth == guess).mean()
    off = np.where(truth == 6, 5, truth + 1)
    assert (truth == off).mean() == 0
    assert within_one(truth, off) == 1


@pytest.mark.sheet("The smoothing chain leaves a constant class curve of 3 at value 0, and of 6 at value 1.")
def test_smoothing_of_constants() -> None:
    window = smoothing_window("arousal", ("rgb", "flow", "audio"))
    assert window == 601
    for level, value in ((3, 0.0), (6, 1.0)):
        np.testing.assert_allclose(continuous(np.full(1800, level), window)[700:1700], value, atol=1e-6)
    truth = np.full(1800, 0.5)
    assert curve_scores(truth, truth)["mae"] == pytest.approx(0, abs=1e-3)


@pytest.mark.sheet("Temperature: loss with T=2 on logits z equals plain loss on z/2.")
def test_temperature() -> None:
    z, label = torch.randn(6, 7), torch.randint(0, 7, (6,))
    hot, plain = build(SMALL), build(replace(SMALL, temperature=1.0))
    torch.testing.assert_close(
        hot.losses({"label": label.float()}, {"logits": z})["class"],
        plain.losses({"label": label}, {"logits": z / 2})["class"],
    )


def films(seed: int, previous: bool, moments: int = 160) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
    """Four films of random features; the rating follows a direction of this moment's features or the one before."""
    random = np.random.default_rng(seed)
    rule = random.normal(size=12)
    given, labels = [], []
    for _ in range(4):
        x = random.uniform(0, 1, (moments + 1, 12)).astype("f4")
        rating = np.tanh((x - 0.5) @ rule)
        given.append({"rgb": x[1:], "flow": x[1:, :10], "audio": x[1:, :8]})
        labels.append(bin_of(rating[:-1] if previous else rating[1:]))
    return given, labels


def left_out(config: Config, held: int, previous: bool) -> tuple[float, float]:
    """Accuracy on the film left out of four, and that of the majority class of the others."""
    given, labels = films(held, previous)
    kept = [i for i in range(4) if i != held]
    system = build(config, held).train()
    items = MovieMoments([given[i] for i in kept], [labels[i] for i in kept], list("abc"), config.steps)
    rows = [items[i] for i in range(len(items))]
    batch = {n: torch.from_numpy(np.stack([r[n] for r in rows])) for n in config.modalities}
    batch["label"] = torch.tensor([r["label"] for r in rows])
    optimizer = torch.optim.Adam(system.parameters(), 2e-2)
    for _ in range(100):
        optimizer.zero_grad()
        system.losses(batch, system(batch))["class"].backward()
        optimizer.step()
    score = (system.eval().trace(given[held]) == labels[held]).mean()
    return float(score), float((np.bincount(batch["label"]).argmax() == labels[held]).mean())


@pytest.mark.learning
@pytest.mark.sheet("Leave-one-movie-out on 4 synthetic movies with a shared linear rule: 2FC beats the majority class")
def test_linear_rule_across_films() -> None:
    pairs = [left_out(SMALL, held, previous=False) for held in range(4)]
    assert all(score > majority + 0.05 for score, majority in pairs), pairs


@pytest.mark.learning
@pytest.mark.sheet("when the label is the previous step's feature, LSTM beats 2FC.")
def test_the_moment_before_needs_memory() -> None:
    recurrent = Config(sizes=SMALL.sizes, reduced=8, hidden=24, network="lstm", layers=1)
    for held in range(4):
        with_memory, without = (left_out(c, held, previous=True)[0] for c in (recurrent, SMALL))
        assert with_memory > without + 0.05, (with_memory, without)


def test_windows_stay_within_their_film_unless_published() -> None:
    given = [{"rgb": np.full((3, 2), float(i))} for i in range(2)]
    labels = [np.zeros(3, np.int64)] * 2
    correct = MovieMoments(given, labels, ["a", "b"], 3)
    joined = MovieMoments(given, labels, ["a", "b"], 3, joined=True)
    assert correct[3]["rgb"][:, 0].tolist() == [1, 1, 1]
    assert joined[3]["rgb"][:, 0].tolist() == [0, 0, 1]
    assert correct[4]["id"] == "b:1"


@pytest.mark.slow
def test_predicts_and_follows_a_film(tmp_path: Path) -> None:
    Tiny(tmp_path).video("film.mp4", "happiness", seconds=1.0)
    system = build(Config.plain("valence"))
    found = next(predict(system, [tmp_path / "film.mp4"]))
    assert found.prediction is not None, found.error
    assert found.prediction.labels == LABELS
    assert set(found.prediction.dimensions) == {"valence"}
    assert -1 <= found.prediction.dimensions["valence"] <= 1
    times, curve = system.follow(tmp_path / "film.mp4")
    assert len(times) == len(curve) >= 10
    Tiny(tmp_path).audio("only.wav")
    silent = next(predict(system, [tmp_path / "only.wav"]))
    assert silent.prediction is None
    assert "rgb" in silent.error


def test_a_stretch_shorter_than_the_window_and_wrong_sizes() -> None:
    spec = build(replace(Config.plain(), network="lstm")).inputs()["rgb"]
    assert isinstance(spec, ArrayInput)
    frame = np.zeros((20, 20, 3), np.uint8)
    assert spec([frame, frame]).shape == spec.shape
    system = build(SMALL)
    with pytest.raises(ConfigError, match="audio"):
        system(system.example(2) | {"audio": torch.zeros(2, 1, 9)})
    with pytest.raises(ConfigError, match="one size per modality"):
        Config(modalities=("rgb",))
    with pytest.raises(ConfigError, match="lies outside"):
        system.losses({"label": torch.tensor([7])}, {"logits": torch.zeros(1, 7)})
    assert system.losses({"label": torch.tensor([-1, -1])}, {"logits": torch.zeros(2, 7)})["class"] == 0


def test_published_backbones_want_their_weights() -> None:
    spec = build(Config.visual()).inputs()["flow"]
    with pytest.raises(AffectusError, match="weights of resnet101"):
        spec([np.zeros((40, 40, 3), np.uint8)] * 2)
    assert "resnet101" in repr(MotionNetwork("resnet101", ""))


def test_films_of_the_corpus_become_moments(tmp_path: Path) -> None:
    corpora.write_tiny("cognimuse", tmp_path)
    for folder in ("2003CHI", "2006CRA"):
        Tiny(tmp_path).video(f"{folder}/film.mp4", "fear", seconds=1.0, size=32)
    corpus = corpora.load("cognimuse", tmp_path)
    system = build(Config(sizes=(1582,), modalities=("audio",), features="plain"))
    items = system.items(corpus, "dim:arousal")
    assert len(items) >= 20
    assert items[0]["audio"].shape == (1, 1582)
    assert 0 <= items[0]["audio"].min() <= items[0]["audio"].max() <= 1
    curve = cognimuse.curve(corpus, 0)
    assert items[0]["label"] == bin_of(curve[0, 2])
    with pytest.raises(ConfigError, match="dim:valence"):
        system.items(corpus, "dim:valence")


def test_published_feature_and_rating_files(tmp_path: Path) -> None:
    (tmp_path / "MDB.csv").write_text("intended3_0001.jpg,0.5,-0.25\nintended3_0002.jpg,0.25,0\n")
    (tmp_path / "bad.csv").write_text("a,b\n")
    files = Files(tmp_path, ())
    np.testing.assert_allclose(cognimuse.frame_ratings(files, "MDB.csv"), [[0.5, -0.25], [0.25, 0]])
    with pytest.raises(CorpusError, match="picture, valence, arousal"):
        cognimuse.frame_ratings(files, "bad.csv")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file["0"], file["11"] = np.ones((10, 1582), "f4"), np.zeros((10, 1582), "f4")
    found = cognimuse.feature_file(Files(tmp_path, ()), "features.h5")
    assert list(found) == ["BMI", "SIL"]
    assert found["BMI"].shape == (10, 1582)

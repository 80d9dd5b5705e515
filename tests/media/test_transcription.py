"""Speech recognition: choice of engine, sentences and their times, and real speech where the files can be had."""

from __future__ import annotations

import io
import tarfile
import wave
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectus import assets
from affectus.errors import AssetError, ConfigError
from affectus.media import moonshine, transcription
from affectus.media.speech import speech_windows
from affectus.media.transcription import engine, sentences, transcribe
from affectus.types import Window

RATE = 16000
WHISPER = "whisper-tiny-en-ct2"


class Moonshine:
    """Answers every stretch with a scripted text and confidence, and remembers what it heard."""

    def __init__(self, text: str = "Hello there. How are you?", confidence: float = -0.1) -> None:
        self.text, self.confidence = text, confidence
        self.heard: list[np.ndarray] = []

    def recognise(self, audio: np.ndarray) -> tuple[str, float]:
        self.heard.append(audio)
        return self.text, self.confidence


class Whisper:
    """Answers with scripted words in seconds of the piece it is given."""

    def __init__(
        self, *passes: list[tuple[str, float, float]], multilingual: bool = False, score: float = -0.2
    ) -> None:
        self.passes, self.score = list(passes), score
        self.model = SimpleNamespace(is_multilingual=multilingual)
        self.asked: list[tuple[float, str | None]] = []

    def transcribe(self, audio: np.ndarray, language: str | None, **_: object):
        self.asked.append((len(audio) / RATE, language))
        words = [SimpleNamespace(word=w, start=s, end=e) for w, s, e in self.passes.pop(0)]
        text = "".join(w.word for w in words)
        segment = SimpleNamespace(avg_logprob=self.score, text=text, words=words)
        return iter([segment]), SimpleNamespace(language=language or "fr")


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names that count as present; the package faster-whisper is one of them."""
    names: set[str] = set()

    def resolve(name: str) -> Path:
        if name not in names:
            raise AssetError(name, "cannot be fetched")
        return Path(name)

    monkeypatch.setattr(transcription.assets, "available", lambda name: name in names)
    monkeypatch.setattr(transcription.assets, "resolve", resolve)
    monkeypatch.setattr(transcription, "_has_whisper", lambda: "faster-whisper" in names)
    monkeypatch.setenv("AFFECTUS_OFFLINE", "1")
    moonshine.loaded.cache_clear()
    return names


def use(monkeypatch: pytest.MonkeyPatch, recogniser: Moonshine | Whisper) -> None:
    """Make the scripted recogniser the engine."""
    if isinstance(recogniser, Moonshine):
        monkeypatch.setattr(transcription, "_choose", lambda code, model: None)
        monkeypatch.setattr(moonshine, "loaded", lambda: recogniser)
    else:
        monkeypatch.setattr(transcription, "_choose", lambda code, model: recogniser)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE), np.float32)


def test_engine_prefers_what_is_ready(present: set[str]) -> None:
    assert engine() is None
    present |= {"faster-whisper", WHISPER}
    assert engine("en-GB") == "faster-whisper"
    assert engine("de") is None
    present |= set(moonshine.ASSETS)
    assert engine() == "moonshine"


def test_engine_for_other_languages_needs_the_hub(present: set[str], monkeypatch) -> None:
    monkeypatch.delenv("AFFECTUS_OFFLINE")
    assert engine("de") is None
    present.add("faster-whisper")
    assert engine("de") == "faster-whisper"


def test_nothing_to_recognise_needs_no_engine(present: set[str]) -> None:
    assert transcribe(silence(1), []) == []
    assert transcribe(silence(1), [Window(3, 4), Window(0.5, 0.55)]) == []


def test_missing_engine_is_an_asset_error(present: set[str]) -> None:
    with pytest.raises(AssetError, match="moonshine-tiny-encoder"):
        transcribe(silence(1), [Window(0, 1)])
    present.add("faster-whisper")
    with pytest.raises(AssetError, match=WHISPER):
        transcribe(silence(1), [Window(0, 1)])


def test_other_language_without_the_extra(present: set[str]) -> None:
    with pytest.raises(AssetError, match=r"'de'.*faster-whisper .*affectus\[speech\]"):
        transcribe(silence(1), [Window(0, 1)], "de")


def test_other_language_that_cannot_be_had(present: set[str], monkeypatch) -> None:
    present.add("faster-whisper")
    reachable = False

    def absent(name: str, *, local: bool) -> None:
        raise OSError("see https://example.invalid/x for more" if local is False else "not here")

    monkeypatch.setattr(transcription, "_whisper", absent)
    monkeypatch.setattr(transcription.assets, "hub_reachable", lambda: reachable)

    def told() -> str:
        with pytest.raises(AssetError) as caught:
            transcribe(silence(1), [Window(0, 1)], "de")
        return str(caught.value)

    assert "for language 'de': is not on this machine and AFFECTUS_OFFLINE is set" in told()
    monkeypatch.delenv("AFFECTUS_OFFLINE")
    assert "the model hub cannot be reached" in told()
    reachable = True
    assert "cannot be had: see … for more" in told()


def test_a_folder_that_holds_no_model(present: set[str], monkeypatch, tmp_path: Path) -> None:
    present.add("faster-whisper")

    def broken(name: str, *, local: bool) -> None:
        raise RuntimeError("no model.bin")

    monkeypatch.setattr(transcription, "_whisper", broken)
    with pytest.raises(AssetError, match=r"cannot be loaded: no model\.bin"):
        transcribe(silence(1), [Window(0, 1)], model=tmp_path)


@pytest.mark.parametrize("language", ["", "deutsch", "12", "../de"])
def test_malformed_language(language: str) -> None:
    with pytest.raises(ConfigError, match="no language code"):
        transcribe(silence(1), [Window(0, 1)], language)


@pytest.mark.parametrize("audio", [np.zeros((10, 2), np.float32), np.zeros(10, np.int16)])
def test_refuses_other_arrays(audio: np.ndarray) -> None:
    with pytest.raises(ValueError, match="one-dimensional float array"):
        transcribe(audio, [Window(0, 1)])


def test_moonshine_sentences_share_their_window(monkeypatch) -> None:
    use(monkeypatch, Moonshine("Hello there. How are you?"))
    first, second = transcribe(silence(5), [Window(1, 4)])
    assert (first.text, second.text) == ("Hello there.", "How are you?")
    assert (first.start, first.end, second.start, second.end) == (1, 2.5, 2.5, 4)
    assert first.language == "en"


def test_times_are_of_the_file(monkeypatch) -> None:
    recogniser = Moonshine("Yes.")
    use(monkeypatch, recogniser)
    audio = np.arange(5 * RATE, dtype=np.float32) / (5 * RATE)
    (turn,) = transcribe(audio, [Window(61, 62), Window(70, 71)], offset=60)
    assert (turn.start, turn.end) == (61, 62)
    assert recogniser.heard[0][0] == pytest.approx(1 / 5)
    assert len(recogniser.heard[0]) == RATE


@pytest.mark.parametrize(
    ("text", "confidence"),
    [("Good and Morgan, point is time.", -1.0), ("Again and again. " * 20, -0.1), ("...", -0.1), ("", -0.01)],
)
def test_unsure_repeated_and_empty_text_is_dropped(monkeypatch, text: str, confidence: float) -> None:
    use(monkeypatch, Moonshine(text, confidence))
    assert transcribe(silence(5), [Window(1, 4)]) == []


def test_long_windows_are_cut_for_moonshine(monkeypatch) -> None:
    recogniser = Moonshine("Yes.")
    use(monkeypatch, recogniser)
    turns = transcribe(silence(50), [Window(0, 50)])
    assert len(turns) == 3
    assert max(len(piece) for piece in recogniser.heard) <= 20 * RATE
    assert [t.start for t in turns] == pytest.approx([0, 50 / 3, 100 / 3])


def test_broken_samples_do_not_reach_the_engine(monkeypatch) -> None:
    recogniser = Moonshine("Yes.")
    use(monkeypatch, recogniser)
    audio = silence(2)
    audio[100], audio[200], audio[300] = np.nan, np.inf, 1e20
    transcribe(audio, [Window(0, 2)])
    assert np.isfinite(recogniser.heard[0]).all()
    assert recogniser.heard[0].max() == 1


def test_whisper_words_become_sentences_in_their_windows(monkeypatch) -> None:
    words = [(" Well,", 0.1, 0.4), (" yes.", 0.4, 0.9), (" Dr.", 1.0, 1.2), (" Who", 1.2, 1.6), (" um", 2.2, 2.4)]
    words += [(" came", 3.1, 3.4), (" in.", 3.4, 3.8)]
    use(monkeypatch, Whisper(words))
    turns = transcribe(silence(20), [Window(10, 11.7), Window(13, 14)])
    assert [(t.text, t.start, t.end) for t in turns] == [
        ("Well, yes.", pytest.approx(10.1), pytest.approx(10.9)),
        ("Dr. Who", pytest.approx(11.0), pytest.approx(11.6)),
        ("came in.", pytest.approx(13.1), pytest.approx(13.8)),
    ]


def test_whisper_takes_neighbours_together(monkeypatch) -> None:
    recogniser = Whisper([(" One.", 0, 1)], [(" Two.", 0, 1)])
    use(monkeypatch, recogniser)
    turns = transcribe(silence(60), [Window(0, 5), Window(20, 27), Window(26.5, 30), Window(40, 41)])
    assert [seconds for seconds, _ in recogniser.asked] == pytest.approx([27, 14.5])
    assert [t.start for t in turns] == pytest.approx([0, 26.5])


def test_whisper_unsure_text_is_dropped(monkeypatch) -> None:
    use(monkeypatch, Whisper([(" Mumble.", 0, 1)], score=-1.5))
    assert transcribe(silence(2), [Window(0, 2)]) == []


def test_languages_of_whisper(monkeypatch) -> None:
    for language, multilingual, asked in (("auto", False, "en"), ("auto", True, None), ("de", True, "de")):
        recogniser = Whisper([(" Ja.", 0, 1)], multilingual=multilingual)
        use(monkeypatch, recogniser)
        (turn,) = transcribe(silence(2), [Window(0, 2)], language)
        assert recogniser.asked[0][1] == asked
        assert turn.language == (asked or "fr")
    use(monkeypatch, Whisper([]))
    with pytest.raises(AssetError, match="knows English only"):
        transcribe(silence(2), [Window(0, 2)], "de")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Mr. Smith paid 3.50 dollars... and left.", ["Mr. Smith paid 3.50 dollars...", "and left."]),
        ('He said "no." Then silence', ['He said "no."', "Then silence"]),
        ("今日は。元気？", ["今日は。", "元気？"]),
        ("", []),
        ("no end", ["no end"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(alphabet="ab .!?。", max_size=60))
def test_sentences_lose_nothing(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def fetched(*names: str) -> list[Path]:
    """Paths of assets; skips where they cannot be had."""
    try:
        return [assets.resolve(name) for name in names]
    except AssetError as error:
        pytest.skip(f"needs foreign files: {error}")


def words_of(turns) -> str:
    return " ".join("".join(c for c in t.text.lower() if c.isalpha() or c == " ") for t in turns)


@pytest.fixture
def sample() -> np.ndarray:
    """Ten seconds of six short read sentences."""
    path, _ = fetched("speech-sample", "silero-vad")
    with wave.open(str(path)) as recording:
        return np.frombuffer(recording.readframes(recording.getnframes()), np.int16).astype(np.float32) / 32768


def check_sample(turns) -> None:
    """At most one of the twelve words is wrong, and the sentences keep their order and places."""
    expected = ["ever", "tried", "ever", "failed", "no", "matter", "try", "again", "fail", "again", "fail", "better"]
    heard = words_of(turns).split()
    assert len(heard) == len(expected)
    assert sum(a != b for a, b in zip(heard, expected, strict=True)) <= 1
    assert len(turns) == 6
    assert all(first.end <= second.start for first, second in pairwise(turns))
    assert turns[0].start < 1.0
    assert 8.0 < turns[-1].end < 9.5


@pytest.mark.assets
def test_moonshine_on_real_speech(sample: np.ndarray) -> None:
    fetched(*moonshine.ASSETS)
    assert engine() == "moonshine"
    check_sample(transcribe(sample, speech_windows(sample)))


@pytest.mark.assets
def test_moonshine_hears_nothing_in_noise() -> None:
    fetched(*moonshine.ASSETS)
    noise = np.random.default_rng(0).normal(0, 0.05, RATE * 3).astype(np.float32)
    assert transcribe(noise, [Window(0, 3)]) == []


@pytest.mark.assets
def test_whisper_on_real_speech(sample: np.ndarray) -> None:
    pytest.importorskip("faster_whisper", reason="needs the speech extra")
    (folder,) = fetched(WHISPER)
    check_sample(transcribe(sample, speech_windows(sample), model=folder))


@pytest.mark.assets
@pytest.mark.corpus
def test_acted_sentences_are_understood(shared_data: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    signal = pytest.importorskip("scipy.signal")
    fetched("silero-vad", *moonshine.ASSETS)
    archive = next((shared_data / "ravdess").glob("*.tar"), None)
    if archive is None:
        pytest.skip("no RAVDESS archive")
    wrong = 0
    with tarfile.open(archive) as bundle:
        for emotion in ("01", "03", "05"):
            data = bundle.extractfile(f"Actor_02/03-01-{emotion}-01-01-01-02.flac")
            assert data is not None
            audio, rate = soundfile.read(io.BytesIO(data.read()), dtype="float32", always_2d=True)
            mono = signal.resample_poly(audio.mean(1), RATE, rate).astype(np.float32)
            heard = words_of(transcribe(mono, speech_windows(mono))).split()
            wrong += len({"kids", "are", "talking", "by", "the", "door"} ^ set(heard))
    assert wrong <= 2

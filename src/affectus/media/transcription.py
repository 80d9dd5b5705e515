"""What was said: speech recognition on the turns found by `media.speech`, with one sentence per `types.Turn`.

Two engines: **moonshine** (English, ONNX Runtime, part of the core install) and **faster-whisper** (the `speech`
extra: English from a packaged model, other languages and larger models from the model hub). Text an engine is itself
unsure about is dropped, because wrong words are worse evidence than none.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from affectus import assets
from affectus.errors import AssetError, ConfigError
from affectus.media import moonshine
from affectus.types import Turn, Window

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

log = logging.getLogger("affectus.media")

RATE = 16000
#: Whisper's multilingual model that is fetched from the hub when another language than English is asked for.
HUB_MODEL = "small"
_PACKAGED = "whisper-tiny-en-ct2"

#: Mean log-probability of tokens below which text is dropped. Moonshine: clear English scores above -0.5, German and
#: French read as English below -0.9. Whisper: the threshold of its authors.
_UNSURE_MOONSHINE, _UNSURE_WHISPER = -0.75, -1.0
#: Text that compresses better than this repeats itself (threshold of Whisper's authors).
_REPETITIVE = 2.4
_SHORTEST, _LONGEST = 0.1, 20.0
#: Whisper pads everything to 30 s, so neighbouring turns are recognised together up to this span.
_SPAN = 28.0

_SENTENCE_END = re.compile(r"(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bMrs)[.!?…]+[\"'”’)]*(?=\s)|[。！？]")


@dataclass(frozen=True)
class _Word:
    text: str
    start: float
    end: float


def engine(language: str = "auto") -> str | None:
    """Name of the engine that is ready now for a language, without fetching anything; None when none is.

    "moonshine" and "faster-whisper" for English ("en" or "auto"), "faster-whisper" for another language when the
    `speech` extra is installed and models may be fetched or its hub model is here already.
    """
    if _english(_language(language)):
        if all(map(assets.available, moonshine.ASSETS)):
            return "moonshine"
        return "faster-whisper" if _has_whisper() and assets.available(_PACKAGED) else None
    return (
        "faster-whisper" if _has_whisper() and (not assets.offline() or any(_hub_folder().glob("models--*"))) else None
    )


def transcribe(
    audio: np.ndarray,
    windows: Sequence[Window],
    language: str = "auto",
    *,
    model: str | Path | None = None,
    offset: float = 0.0,
) -> list[Turn]:
    """Recognise the speech inside `windows` and return one `Turn` per sentence, in order of time.

    `audio`: (n,) float mono in [-1, 1] at 16 kHz; `windows` in seconds of the file; `offset`: time in the file of the
    first sample, for recordings given in pieces. `language`: "auto" or a code such as "en" or "de"; "auto" means
    English unless `model` is multilingual. `model`: None (moonshine, else the packaged Whisper tiny.en; Whisper
    "small" from the hub for other languages), or the name of a Whisper model on the hub, or a folder that holds one in
    CTranslate2 format. Models from the hub are fetched by name and are not pinned.

    Times of moonshine's sentences within one window are spread by length of text; Whisper's are measured.
    Raises AssetError when no engine or model can be had, ConfigError for a malformed language, ValueError for other
    arrays than one-dimensional floats.
    """
    audio = np.asarray(audio)
    if audio.ndim != 1 or not np.issubdtype(audio.dtype, np.floating):
        raise ValueError(f"expected a one-dimensional float array, got {audio.dtype} of shape {audio.shape}")
    code = _language(language)
    spans = _inside(windows, len(audio) / RATE, offset)
    if not spans:
        return []
    chosen = _choose(code, model)
    clean = np.clip(np.nan_to_num(audio.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0)
    turns = _by_moonshine(clean, spans) if chosen is None else _by_whisper(chosen, clean, spans, code)
    return [replace(t, start=t.start + offset, end=t.end + offset) for t in turns if re.search(r"\w", t.text)]


def release() -> None:
    """Close the recognisers that are open; the next `transcribe` opens what it needs anew. They hold over 100 MB."""
    moonshine.loaded.cache_clear()
    _whisper.cache_clear()


def _language(language: str) -> str:
    """The bare code: "en-US" → "en"; "auto" stays."""
    code = re.split(r"[-_]", language.strip().lower())[0]
    if code != "auto" and not re.fullmatch(r"[a-z]{2,3}", code):
        raise ConfigError(f"language {language!r}", "is no language code", "use auto, or a code such as en or de")
    return code


def _english(code: str) -> bool:
    return code in ("auto", "en")


def _inside(windows: Sequence[Window], duration: float, offset: float) -> list[Window]:
    """Windows relative to the audio, in order, clipped to it; what is left of less than 0.1 s is dropped."""
    clipped = (Window(max(0.0, w.start - offset), min(duration, w.end - offset)) for w in windows)
    return sorted((w for w in clipped if w.end - w.start >= _SHORTEST), key=lambda w: w.start)


def _has_whisper() -> bool:
    return importlib.util.find_spec("faster_whisper") is not None


def _hub_folder() -> Path:
    return assets.cache_folder() / "hub"


def _choose(code: str, model: str | Path | None) -> WhisperModel | None:
    """The Whisper model to use, or None for moonshine. Fetches what is missing unless offline."""
    if model is not None or not _english(code):
        return _whisper_by_name(str(model or HUB_MODEL), code)
    ready = engine(code)
    if ready == "faster-whisper":
        return _whisper(str(assets.resolve(_PACKAGED)))
    try:
        moonshine.loaded()
        return None
    except AssetError as error:
        if not _has_whisper():
            raise
        log.info("moonshine cannot be had (%s); using Whisper", error.reason)
    return _whisper(str(assets.resolve(_PACKAGED)))


def _require_whisper(subject: str) -> None:
    if not _has_whisper():
        raise AssetError(subject, "needs the package faster-whisper", "pip install 'affectus[speech]'")


def _whisper_by_name(name: str, code: str) -> WhisperModel:
    subject = f"speech recognition model {name!r}" + ("" if _english(code) else f" for language {code!r}")
    _require_whisper(subject)
    remedy = "give a side-car transcript, or a folder with a CTranslate2 model"
    try:
        return _whisper(name, local=True)
    except Exception as error:  # CTranslate2 and the hub's client raise many unrelated types
        if Path(name).exists():
            raise AssetError(subject, f"cannot be loaded: {assets.without_addresses(str(error))}", remedy) from error
    if assets.offline():
        raise AssetError(subject, "is not on this machine and AFFECTUS_OFFLINE is set", remedy)
    if not assets.hub_reachable():
        raise AssetError(subject, "is not on this machine and the model hub cannot be reached", remedy)
    try:
        return _whisper(name, local=False)
    except Exception as error:
        raise AssetError(subject, f"cannot be had: {assets.without_addresses(str(error))}", remedy) from error


@cache
def _whisper(name: str, *, local: bool = True) -> WhisperModel:
    """Load a model: a folder, or a name of the hub, which is fetched unless `local`."""
    from faster_whisper import WhisperModel

    options: dict[str, Any] = {"device": "cpu", "compute_type": "int8", "cpu_threads": min(4, os.cpu_count() or 1)}
    return WhisperModel(name, download_root=str(_hub_folder()), local_files_only=local, **options)


def _repetitive(text: str) -> bool:
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) > _REPETITIVE


def _by_moonshine(audio: np.ndarray, spans: list[Window]) -> list[Turn]:
    recogniser = moonshine.loaded()
    turns: list[Turn] = []
    for span in spans:
        pieces = int(np.ceil(span.length / _LONGEST))
        edges = np.linspace(span.start, span.end, pieces + 1)
        for start, end in pairwise(map(float, edges)):
            text, confidence = recogniser.recognise(audio[round(start * RATE) : round(end * RATE)])
            if confidence < _UNSURE_MOONSHINE or _repetitive(text):
                log.info("dropped unsure words at %.1f s", start)
                continue
            turns.extend(_spread(text, start, end))
    return turns


def sentences(text: str) -> list[str]:
    """Split running text after sentence-ending punctuation; titles such as "Mr." do not end one."""
    parts, begin = [], 0
    for match in _SENTENCE_END.finditer(text):
        parts.append(text[begin : match.end()].strip())
        begin = match.end()
    parts.append(text[begin:].strip())
    return [part for part in parts if part]


def _spread(text: str, start: float, end: float) -> Iterator[Turn]:
    """One turn per sentence, times in proportion to the number of characters."""
    parts = sentences(text)
    edges = start + (end - start) * np.cumsum([0, *map(len, parts)]) / max(1, sum(map(len, parts)))
    for part, (left, right) in zip(parts, pairwise(map(float, edges)), strict=True):
        yield Turn(part, left, right, language="en")


def _together(spans: list[Window]) -> Iterator[list[Window]]:
    """Neighbouring windows whose common span fits into one pass of Whisper."""
    group: list[Window] = []
    for span in spans:
        if group and span.end - group[0].start > _SPAN:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _by_whisper(model: WhisperModel, audio: np.ndarray, spans: list[Window], code: str) -> list[Turn]:
    wanted = code if code != "auto" else (None if model.model.is_multilingual else "en")
    if wanted not in (None, "en") and not model.model.is_multilingual:
        raise AssetError(f"language {code!r}", "the chosen model knows English only", "choose a multilingual model")
    turns: list[Turn] = []
    for group in _together(spans):
        start, end = group[0].start, max(span.end for span in group)
        piece = audio[round(start * RATE) : round(end * RATE)]
        segments, info = model.transcribe(
            piece, language=wanted, beam_size=1, condition_on_previous_text=False, word_timestamps=True
        )
        words = [
            _Word(word.word, start + float(word.start), start + float(word.end))
            for segment in segments
            if segment.avg_logprob >= _UNSURE_WHISPER and not _repetitive(segment.text)
            for word in segment.words or ()
        ]
        turns.extend(_gather(words, group, info.language))
    return turns


def _gather(words: list[_Word], spans: list[Window], language: str) -> Iterator[Turn]:
    """Words to sentences: one ends at its punctuation or where the next word lies in another window.

    Words outside all windows were heard in a pause and are left out.
    """
    open_words: list[_Word] = []
    place = -1
    for word in words:
        where = _window_of(word, spans)
        if where < 0:
            continue
        if open_words and where != place:
            yield _sentence(open_words, language)
            open_words = []
        place = where
        open_words.append(word)
        if _SENTENCE_END.search(word.text.strip() + " "):
            yield _sentence(open_words, language)
            open_words = []
    if open_words:
        yield _sentence(open_words, language)


def _window_of(word: _Word, spans: list[Window]) -> int:
    """Index of the window the word shares most time with (its middle counts for words without length), or -1."""
    span = Window(word.start, max(word.end, word.start + 0.02))
    shares = [span.overlap(window) for window in spans]
    best = int(np.argmax(shares))
    return best if shares[best] > 0 else -1


def _sentence(words: list[_Word], language: str) -> Turn:
    text = "".join(word.text for word in words).strip()
    return Turn(text, words[0].start, words[-1].end, language=language)

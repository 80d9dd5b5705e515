"""Sound as float32 mono at a fixed rate, block by block, so that memory does not grow with the recording."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from affectus.errors import MediaError
from affectus.media.containers import audio_stream, note, open_recording, packets, start_seconds, stated_duration

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler

#: Missing stretches longer than this (s) are filled with silence so that sample number / rate stays the time.
GAP = 0.05
#: Source samples gathered before they go through the resampler in one call.
GATHER = 16384

# Weights of a mono mix. Speech sits in the centre of surround sound, so it counts as in the usual stereo fold-down
# followed by a sum: centre 2 x 0.707, surrounds 0.707, no bass channel (ITU-R BS.775 coefficients).
_WEIGHTS = {"FL": 1.0, "FR": 1.0, "FC": math.sqrt(2), "LFE": 0.0}
_SURROUND_WEIGHT = math.sqrt(0.5)


def audio_blocks(
    path: str | Path, rate: int = 16000, seconds: float = 30.0, stream: BinaryIO | None = None
) -> AudioBlocks:
    """Sound of a recording as an iterator of `(start, samples)` blocks.

    `samples` is float32 mono in [-1, 1] at `rate` Hz, `seconds` long except for the last block; `start` is in seconds
    from the start of the file and equals the number of samples before the block / `rate`: late starts and gaps of the
    sound are filled with silence. Channels are mixed to mono (surround sound with emphasis on the centre). NaN and
    infinite samples become 0. The iterator has a list `warnings`, complete once it is exhausted, and a `close()`.
    A seekable `stream` is read instead of the file; `path` is then what errors call it.

    Raises `MediaError` when the file cannot be opened or holds no samples, `NoAudioError` when it has no sound at all.
    """
    return AudioBlocks(Path(path), rate, seconds, stream)


def read_audio(
    path: str | Path, rate: int = 16000, warnings: list[str] | None = None, stream: BinaryIO | None = None
) -> np.ndarray:
    """The whole sound of a recording, float32 mono of shape (samples,) at `rate` Hz; see `audio_blocks`.

    Warnings are appended to the list given.
    """
    with audio_blocks(path, rate, stream=stream) as blocks:
        samples = [block for _, block in blocks]
        if warnings is not None:
            warnings.extend(blocks.warnings)
    return np.concatenate(samples)


class AudioBlocks(Iterator[tuple[float, np.ndarray]]):
    """Iterator over blocks of sound; made by `audio_blocks`."""

    def __init__(self, path: Path, rate: int, seconds: float, stream: BinaryIO | None = None) -> None:
        if rate < 1000:
            raise MediaError(path, f"the sampling rate must be at least 1000 Hz, not {rate}")
        if not 0 < seconds < math.inf:
            raise MediaError(path, f"blocks must be longer than 0 s, not {seconds}")
        self.warnings: list[str] = []
        self.path, self.rate = path, rate
        self._size = max(1, round(seconds * rate))
        self._container = open_recording(path, stream)
        try:
            self._stream = audio_stream(self._container, path)
        except MediaError:
            self._container.close()
            raise
        self._blocks = self._cut()

    def __iter__(self) -> AudioBlocks:
        return self

    def __next__(self) -> tuple[float, np.ndarray]:
        return next(self._blocks)

    def __enter__(self) -> AudioBlocks:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._blocks.close()
        self._container.close()

    def _cut(self) -> Generator[tuple[float, np.ndarray], None, None]:
        """Cut the stream of samples into blocks of equal length."""
        parts: list[np.ndarray] = []
        waiting = delivered = 0
        loudest = 0.0
        for samples in self._samples():
            loudest = max(loudest, float(np.abs(samples).max()))
            parts.append(samples)
            waiting += samples.size
            while waiting >= self._size:
                joined = np.concatenate(parts)
                yield delivered / self.rate, joined[: self._size].copy()
                delivered += self._size
                waiting -= self._size
                parts = [joined[self._size :]]
        if waiting:
            yield delivered / self.rate, np.concatenate(parts)
        elif not delivered:
            raise MediaError(self.path, "holds no audio samples", "record or export it again")
        if loudest == 0.0:
            note(self.warnings, "the sound is digital silence from start to end")
        self._check_length((delivered + waiting) / self.rate)
        self._container.close()

    def _check_length(self, length: float) -> None:
        stated = stated_duration(self._container, self._stream)
        if length < stated - max(1.0, 0.05 * stated):
            note(
                self.warnings, f"the sound ends at {length:.1f} s of the {stated:.1f} s it states: the file is cut off"
            )

    def _samples(self) -> Iterator[np.ndarray]:
        """Non-empty mono pieces at the wanted rate, gaps filled."""
        resampler = _Resampler(self.rate)
        zero = start_seconds(self._container)
        position = missing = 0.0  # time up to which sound was seen; how much was absent in between
        mixer = _Mixer()
        longest_gap = max(1.0, (self._container.duration or 0) / 1e6)
        for frame in self._frames():
            if not frame.samples or not frame.sample_rate:
                continue
            time = position if frame.pts is None or frame.time is None else frame.time - zero
            gap = time - position
            if GAP < gap <= longest_gap:
                yield from resampler.push(np.zeros(round(gap * frame.sample_rate), np.float32), frame.sample_rate)
                missing += gap if position else 0.0
                position += gap
            elif gap > longest_gap:
                note(self.warnings, f"time stamps jump ahead at {position:.2f} s; counted on from there")
                zero += gap
            yield from resampler.push(mixer.mono(frame), frame.sample_rate)
            position += frame.samples / frame.sample_rate
        yield from resampler.finish()
        if missing:
            note(self.warnings, f"{missing:.1f} s of sound are missing in between and count as silence")
        self.warnings.extend(mixer.findings())

    def _frames(self) -> Iterator[AudioFrame]:
        import av

        damaged = 0
        codec = self._stream.codec_context
        for packet in packets(self._container, self._stream, self.warnings):
            try:
                yield from codec.decode(packet)
            except av.error.FFmpegError:
                damaged += 1
        try:
            yield from codec.decode(None)
        except av.error.FFmpegError:
            damaged += 1
        if damaged:
            note(self.warnings, f"{damaged} damaged packets of sound were left out")


class _Mixer:
    """Turns decoded frames of any sample format and channel layout into float32 mono and counts odd samples."""

    def __init__(self) -> None:
        self.not_finite = 0
        self.too_loud = 0.0

    def mono(self, frame: AudioFrame) -> np.ndarray:
        values = frame.to_ndarray()
        channels = [channel.name for channel in frame.layout.channels]
        if not frame.format.is_planar:
            values = values.reshape(-1, len(channels)).T
        samples = self._clean(_to_float(values))
        if len(channels) == 1:
            return samples[0]
        weights = np.array([_WEIGHTS.get(name, _SURROUND_WEIGHT) for name in channels], dtype=np.float32)
        if not weights.any():
            weights[:] = 1.0
        return (weights / weights.sum()) @ samples

    def _clean(self, samples: np.ndarray) -> np.ndarray:
        finite = np.isfinite(samples)
        if not finite.all():
            self.not_finite += int(samples.size - finite.sum())
            samples = np.where(finite, samples, np.float32(0))
        peak = float(np.abs(samples).max())
        if peak > 1.0:  # decoders of lossy formats overshoot a little
            self.too_loud = max(self.too_loud, peak)
            samples = np.clip(samples, -1.0, 1.0)
        return samples

    def findings(self) -> list[str]:
        """What was odd about the samples."""
        found = []
        if self.not_finite:
            found.append(f"{self.not_finite} samples were NaN or infinite and count as silence")
        if self.too_loud > 2.0:
            found.append(f"samples reach {self.too_loud:.3g} times full scale and were clipped")
        return found


def _to_float(values: np.ndarray) -> np.ndarray:
    """Samples of a decoder's format as float32 with full scale 1."""
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128.0) / 128.0
    if values.dtype.kind == "i":
        return values.astype(np.float32) / np.float32(-float(np.iinfo(values.dtype).min))
    return values.astype(np.float32)


class _Resampler:
    """Mono float32 from one or more source rates to one target rate."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._source = 0
        self._resampler: AudioResampler | None = None
        self._parts: list[np.ndarray] = []
        self._waiting = 0

    def push(self, samples: np.ndarray, source: int) -> Iterator[np.ndarray]:
        """Take source samples, give what comes out so far."""
        from av import AudioResampler

        if source != self._source:
            yield from self.finish()
            self._source = source
            self._resampler = None if source == self.rate else AudioResampler("fltp", "mono", self.rate)
        self._parts.append(samples)
        self._waiting += samples.size
        if self._waiting >= GATHER:
            yield from self._convert(self._take())

    def finish(self) -> Iterator[np.ndarray]:
        """Give the rest, the filter's tail included."""
        if self._waiting:
            yield from self._convert(self._take())
        if self._resampler is not None:
            yield from (frame.to_ndarray()[0] for frame in self._resampler.resample(None) if frame.samples)
            self._resampler = None
            self._source = 0

    def _take(self) -> np.ndarray:
        joined = np.concatenate(self._parts)
        self._parts, self._waiting = [], 0
        return joined

    def _convert(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        from av import AudioFrame

        if self._resampler is None:
            yield samples
            return
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate = self._source
        for out in self._resampler.resample(frame):
            if out.samples:
                yield np.clip(out.to_ndarray()[0], -1.0, 1.0)

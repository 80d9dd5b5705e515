"""Where somebody speaks: Silero voice activity, streamed frame by frame, turned into turns of bounded length.

The detector (asset `silero-vad`, run by ONNX Runtime) takes 512 new samples at 16 kHz together with the 64 samples
before them and carries a recurrent state. Its probabilities become turns by hysteresis: speech begins at `threshold`,
goes on while the probability stays above `release`, and ends after `min_silence` seconds below it. Memory does not grow
with the length of the recording: only the loudness of the current turn's frames is kept.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from affectus import assets
from affectus.errors import ConfigError
from affectus.types import Window

if TYPE_CHECKING:
    import onnxruntime

RATE = 16000
FRAME = 512
CONTEXT = 64
_SECONDS = FRAME / RATE


@cache
def _session(path: Path) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One small recurrent step per call: more threads only wait for each other.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class SpeechDetector:
    """Streaming voice activity detector for 16 kHz mono audio.

    Push blocks of any length in order, then call `finish`; both return the turns completed so far as
    `types.Window`s in seconds from the first sample pushed, in order and without overlap. After `finish` the detector
    is fresh and can take another recording.

    `threshold`, `release`: probabilities at which speech begins and may still go on. `min_speech`: shorter stretches
    are dropped. `min_silence`: pause that ends a turn. `padding`: added on both sides. `max_turn`: longer turns are
    split at their quietest point, and no window is longer. All but the probabilities in seconds.

    Raises ConfigError for impossible settings and AssetError when the detector's file cannot be had.
    """

    def __init__(
        self,
        rate: int = RATE,
        *,
        threshold: float = 0.5,
        release: float = 0.35,
        min_speech: float = 0.25,
        min_silence: float = 0.4,
        padding: float = 0.1,
        max_turn: float = 15.0,
    ) -> None:
        if rate != RATE:
            raise ConfigError("speech detector", f"needs audio at {RATE} Hz, not {rate}", "resample it first")
        if not 0 < release <= threshold < 1:
            raise ConfigError("speech detector", f"needs 0 < release <= threshold < 1, not {release} and {threshold}")
        if min(min_speech, min_silence, padding) < 0 or padding > min_silence / 2:
            raise ConfigError("speech detector", "needs durations >= 0 and padding of at most half of min_silence")
        if max_turn < 2 * (min_speech + 2 * padding) + 4 * _SECONDS:
            raise ConfigError("speech detector", f"max_turn of {max_turn} s leaves no room to split a turn")
        self.threshold, self.release = threshold, release
        self.min_speech, self.min_silence, self.padding = min_speech, min_silence, padding
        self.max_frames = int((max_turn - 2 * padding) / _SECONDS)
        self._run = _session(assets.resolve("silero-vad")).run
        self._reset()

    def _reset(self) -> None:
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(CONTEXT, np.float32)
        self._rest = np.zeros(0, np.float32)
        self._samples = 0
        self._frames = 0
        self._speaking = False
        #: First frame of the open turn, or -1 between turns; one loudness per frame since then.
        self._start = -1
        self._levels: list[float] = []
        self._silent = 0
        #: Whether the open turn continues one that was split, so that it takes no padding in front.
        self._continues = False

    def push(self, block: np.ndarray) -> list[Window]:
        """Take the next block, (n,) float in [-1, 1]; NaN and infinity count as silence, what exceeds 1 is clipped.

        Raises ValueError for anything that is not one channel of floating-point samples.
        """
        block = np.asarray(block)
        if block.ndim != 1 or not np.issubdtype(block.dtype, np.floating):
            raise ValueError(f"expected a one-dimensional float array, got {block.dtype} of shape {block.shape}")
        clean = np.clip(np.nan_to_num(block.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0), -1.0, 1.0)
        self._samples += len(clean)
        audio = np.concatenate([self._rest, clean])
        turns: list[Window] = []
        whole = len(audio) - len(audio) % FRAME
        for begin in range(0, whole, FRAME):
            self._step(audio[begin : begin + FRAME], turns)
        self._rest = audio[whole:].copy()
        return turns

    def finish(self) -> list[Window]:
        """The last turns of the recording; afterwards the detector is fresh."""
        turns: list[Window] = []
        if len(self._rest):
            self._step(np.pad(self._rest, (0, FRAME - len(self._rest))), turns)
        if self._start >= 0:
            self._close(turns)
        self._reset()
        return turns

    def probability(self, frame: np.ndarray) -> float:
        """Speech probability of the next 512 samples; advances the recurrent state."""
        inputs = {
            "input": np.concatenate([self._context, frame])[None],
            "state": self._state,
            "sr": np.array(RATE, np.int64),
        }
        output, self._state = self._run(None, inputs)
        self._context = frame[-CONTEXT:]
        return float(output[0, 0])

    def _step(self, frame: np.ndarray, turns: list[Window]) -> None:
        probability = self.probability(frame)
        self._speaking = probability >= (self.release if self._speaking else self.threshold)
        if self._start < 0 and self._speaking:
            self._start, self._levels, self._silent, self._continues = self._frames, [], 0, False
        self._frames += 1
        if self._start < 0:
            return
        self._levels.append(float(np.mean(np.square(frame))))
        self._silent = 0 if self._speaking else self._silent + 1
        if self._silent and self._silent * _SECONDS >= self.min_silence:
            self._close(turns)
        elif len(self._levels) >= self.max_frames:
            self._split(turns)

    def _close(self, turns: list[Window]) -> None:
        """End the open turn where its last speech frame ended."""
        # A turn split inside its last pause has nothing left to say.
        length = max(0, len(self._levels) - self._silent)
        if length * _SECONDS >= self.min_speech or (length and self._continues):
            self._emit(turns, self._start + length, pad_end=True)
        self._start, self._levels, self._silent, self._speaking = -1, [], 0, False

    def _split(self, turns: list[Window]) -> None:
        """Cut the open turn at the quietest tenth of a second of its second half; the rest stays open."""
        margin = max(1, int(np.ceil(self.min_speech / _SECONDS)))
        levels = np.convolve(np.asarray(self._levels), np.ones(3) / 3, mode="same")
        begin = len(levels) // 2
        cut = begin + int(np.argmin(levels[begin : len(levels) - margin]))
        self._emit(turns, self._start + cut, pad_end=False)
        self._start += cut
        self._levels = self._levels[cut:]
        self._continues = True

    def _emit(self, turns: list[Window], end: int, *, pad_end: bool) -> None:
        start = self._start * _SECONDS - (0.0 if self._continues else self.padding)
        stop = min(end * _SECONDS + (self.padding if pad_end else 0.0), self._samples / RATE)
        turns.append(Window(max(0.0, start), stop))


def speech_windows(audio: np.ndarray, rate: int = RATE) -> list[Window]:
    """All turns of one recording in memory: (n,) float in [-1, 1] at 16 kHz; see `SpeechDetector`."""
    detector = SpeechDetector(rate)
    return [*detector.push(audio), *detector.finish()]

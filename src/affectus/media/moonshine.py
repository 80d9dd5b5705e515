"""English speech recognition with Moonshine tiny: a small encoder and decoder run by ONNX Runtime.

Moonshine (Jeffries et al. 2024, arXiv:2410.15608) takes raw 16 kHz samples, so its cost grows with the length of the
speech and not in steps of thirty seconds. Decoding is greedy with cached keys and values.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from affectus import assets

if TYPE_CHECKING:
    import onnxruntime
    from tokenizers import Tokenizer

ASSETS = ("moonshine-tiny-encoder", "moonshine-tiny-decoder", "moonshine-tokenizer")
RATE = 16000

_BEGIN, _END = 1, 2
_HEADS, _WIDTH = 8, 36
#: The authors bound transcripts at 6.5 tokens per second of speech; short ones get a few more.
_TOKENS_PER_SECOND, _EXTRA_TOKENS = 6.5, 8


class Moonshine:
    """The three files loaded. Raises AssetError when one cannot be had."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        encoder, decoder, tokenizer = (assets.resolve(name) for name in ASSETS)
        self._encoder = _session(str(encoder))
        self._decoder = _session(str(decoder))
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(tokenizer))
        self._memory = [i.name for i in self._decoder.get_inputs() if i.name.startswith("past_key_values")]

    def recognise(self, audio: np.ndarray) -> tuple[str, float]:
        """Text of one stretch of speech and the mean log-probability of its tokens.

        `audio`: (n,) float32 in [-1, 1] at 16 kHz, 0.1 s to about 30 s. Text that is not English scores below -0.9,
        clear English above -0.5.
        """
        states = self._encoder.run(None, {"input_values": audio[None].astype(np.float32)})[0]
        memory = {name: np.zeros((1, _HEADS, 0, _WIDTH), np.float32) for name in self._memory}
        tokens, scores = [_BEGIN], []
        for step in range(int(len(audio) / RATE * _TOKENS_PER_SECOND) + _EXTRA_TOKENS):
            inputs = {
                "input_ids": np.array([[tokens[-1]]], np.int64),
                "encoder_hidden_states": states,
                "use_cache_branch": np.array([step > 0]),
            }
            logits, *present = self._decoder.run(None, inputs | memory)
            # Keys and values of the speech are computed in the first step alone; later steps return empty ones.
            memory = {
                name: memory[name] if step and ".encoder." in name else new
                for name, new in zip(self._memory, present, strict=True)
            }
            row = logits[0, -1].astype(np.float64)
            best = int(row.argmax())
            scores.append(-float(np.log(np.exp(row - row[best]).sum())))
            if best == _END:
                break
            tokens.append(best)
        return self._tokenizer.decode(tokens[1:], skip_special_tokens=True).strip(), float(np.mean(scores))


def _session(path: str) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(4, os.cpu_count() or 1)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@cache
def loaded() -> Moonshine:
    """The recogniser, loaded once per process."""
    return Moonshine()

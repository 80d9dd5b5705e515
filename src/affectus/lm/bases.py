"""The language models that systems stand on, by name."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from affectus.corpora.synthetic import EMOTIONS, sentence
from affectus.errors import ConfigError, ModelError
from affectus.labels import space
from affectus.lm.packaged import load_packaged
from affectus.lm.prompts import list_prompts, load_prompt
from affectus.lm.toy import OPEN_WORDS, toy_language_model, toy_tokenizer


def load_base(name: str, precision: str = "float32") -> tuple[Any, Any]:
    """Language model and tokenizer of a base: a hub id or folder of `transformers`, "packaged" (the small model of
    the library) or "toy:32" (random, of that width). No foreign code is run."""
    dtype = getattr(torch, precision, None)
    if not isinstance(dtype, torch.dtype):
        raise ConfigError(precision, "is no precision", "use float32, bfloat16 or float16")
    if name == "packaged":
        return load_packaged(dtype=dtype)
    if name.startswith("toy:"):
        width, _, group = name.removeprefix("toy:").partition(":")
        tokenizer = base_tokenizer(group or "words")
        return toy_language_model(len(tokenizer), int(width)), tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        return AutoModelForCausalLM.from_pretrained(name, dtype=dtype, trust_remote_code=False), tokenizer
    except (OSError, ValueError) as error:
        raise ModelError(name, f"cannot be loaded as a causal language model: {str(error).splitlines()[0]}") from None


@lru_cache(maxsize=4)
def base_tokenizer(group: str = "words") -> Any:
    """A tokenizer that knows the words of a group of our prompts, so that toy prompts are short.

    It also knows open answers, or with "group+space" the labels of a label space and the words of drawn sentences.
    """
    group, _, known = group.partition("+")
    bodies = [load_prompt(name).body for name in list_prompts() if name.startswith(f"{group}/")]
    answers = [f"<think>The voice and the face: </think><answer>{', '.join(words)}" for words in OPEN_WORDS.values()]
    if known:
        random = np.random.default_rng(0)
        drawn = [sentence(emotion, random) for emotion in EMOTIONS * 8]
        answers = [*drawn, *[f" {label}\n{label}" for label in space(known).labels] * 8]
    return toy_tokenizer([*bodies * 3, *answers * 3], 900)

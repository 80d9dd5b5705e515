"""A teacher of valence, arousal and dominance for the words model: a larger encoder fine-tuned on the rated sentences.

All texts are spread over folds → one network per fold, fine-tuned on the rated sentences of the other folds → what it
says of the texts of its own fold. So no rated sentence, and no text pieced together from one, is judged by a network
that saw its rating, and a student does not learn the noise of ratings twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from tokenizers import Tokenizer

from affectus.nn.phase import Phase
from affectus.training.embedded.words import VAD, WordsData, WordsNet, WordsTask
from affectus.training.loop import fit

#: Shortest stretch of a text (words) that becomes part of a new one.
SHORTEST = 4


def pieces(
    texts: Sequence[str], folds: np.ndarray, each: int, random: np.random.Generator
) -> tuple[list[str], np.ndarray]:
    """`each` new texts per text and the folds (n,) they belong to: a stretch of it, half of them with another's added.

    The other text is of the same fold. A small student needs many more texts than were rated (Jiao et al., "TinyBERT",
    EMNLP Findings 2020); here they need not make sense, since the teacher judges what they have come to say.
    """
    words = [text.split() for text in texts]
    made: list[str] = []
    belongs: list[int] = []
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        for row in np.repeat(rows, each):
            parts = [words[row]] if random.random() < 0.5 else [words[row], words[random.choice(rows)]]
            made.append(" ".join(word for part in parts for word in _stretch(part, random)))
            belongs.append(int(fold))
    return made, np.array(belongs, int)


def _stretch(words: list[str], random: np.random.Generator) -> list[str]:
    length = int(random.integers(min(SHORTEST, len(words)), len(words) + 1))
    start = int(random.integers(0, len(words) - length + 1))
    return words[start : start + length]


def teach(
    backbone: Path,
    texts: Sequence[str],
    folds: np.ndarray,
    vad: np.ndarray,
    options: dict[str, Any],
    folder: Path,
    seed: int = 0,
    precision: str = "no",
) -> np.ndarray:
    """What the teacher says of `texts`: (n, 3) float32, valence, arousal and dominance in [-1, 1].

    The first texts are those rated: `vad` (m, 3), m ≤ n. `folds` (n,) tells which network judges a text; `options` has
    the `phase` in which each is trained, `max_tokens` and how many last layers (`states`) are pooled. What is done is
    kept in `folder`, and a run that was cut off goes on there.
    """
    tokenizer = Tokenizer.from_file(str(backbone / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(int(options.get("max_tokens", 96)))
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    unknown = np.full((len(ids), 1), np.nan, np.float32)
    data = WordsData(ids, unknown, np.concatenate([vad, np.full((len(ids) - len(vad), len(VAD)), np.nan)]))
    said = np.empty((len(ids), len(VAD)), np.float32)
    for fold in np.unique(folds):
        rows, kept = np.flatnonzero(folds == fold), folder / f"fold{fold + 1}.npy"
        if not kept.exists():
            held = rows[rows < len(vad)]
            known = np.setdiff1d(np.arange(len(vad)), held)
            task = _trained(backbone, data[known], data[held], options, folder / f"fold{fold + 1}", seed, precision)
            device = next(task.model.parameters()).device.type
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                np.save(kept, task.outputs(task.model.eval(), data[rows])[:, -len(VAD) :])
        said[rows] = np.load(kept)
    return said


def _trained(
    backbone: Path,
    train: WordsData,
    held: WordsData,
    options: dict[str, Any],
    folder: Path,
    seed: int,
    precision: str,
) -> WordsTask:
    from transformers import AutoModel

    torch.manual_seed(seed)
    encoder = AutoModel.from_pretrained(backbone, add_pooling_layer=False, attn_implementation="eager")
    config = encoder.config
    states = min(int(options.get("states", 4)), config.num_hidden_layers)
    net = WordsNet(encoder, config.hidden_size, train.labels.shape[1], states=states)
    task = WordsTask(net, train, held, "fold of train", "epoch", config.num_hidden_layers)
    phase = TypeAdapter(Phase).validate_python({"name": "teacher", **options["phase"]})
    fit(task, [phase], folder, seed, precision)
    return task

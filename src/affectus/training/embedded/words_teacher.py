"""A teacher of valence, arousal and dominance for the words model: Gaussian processes on a larger frozen encoder.

texts → token states of a few layers, averaged over the text → one Gaussian process per dimension, fitted to the rated
sentences → what the teacher says of any text. Of a rated sentence it says what the others tell about it (leave one
out), so that a student does not learn the noise of ratings twice.
Leave-one-out means: Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, equation 5.12.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from affectus.nn.gaussian_process import GaussianProcess, products

#: Rows on which length scale, linear weight and noise are fitted; time grows with its cube.
SAMPLE = 1500


def text_states(backbone: Path, texts: Sequence[str], layers: Sequence[int], longest: int, path: Path) -> np.ndarray:
    """Mean token states (n, layers · width) float16 of `layers` of the encoder in folder `backbone`.

    What was computed is kept in `path` and read again when it fits the number of texts. Runs in bfloat16.
    """
    from transformers import AutoConfig, AutoModel

    tokenizer = Tokenizer.from_file(str(backbone / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    width = len(layers) * AutoConfig.from_pretrained(backbone).hidden_size
    if path.exists() and (kept := np.load(path)).shape == (len(ids), width):
        return kept
    model = AutoModel.from_pretrained(backbone, add_pooling_layer=False, dtype=torch.bfloat16).eval()
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    found = np.empty((len(ids), width), np.float16)
    order = np.argsort([len(row) for row in ids], kind="stable")
    for start in range(0, len(order), 48):
        rows = order[start : start + 48]
        found[rows] = _mean_states(model, [ids[i] for i in rows], layers)
    partial = path.with_suffix(".partial.npy")
    np.save(partial, found)
    partial.replace(path)
    return found


def _mean_states(model: nn.Module, ids: Sequence[Sequence[int]], layers: Sequence[int]) -> np.ndarray:
    device = next(model.parameters()).device
    length = max(len(row) for row in ids)
    # What pads does not matter, since it is masked; but some encoders count positions by their own padding id.
    padding = getattr(model.config, "pad_token_id", 0) or 0
    padded = torch.full((len(ids), length), padding, device=device)
    mask = torch.zeros((len(ids), length), device=device)
    for place, row in enumerate(ids):
        padded[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    with torch.no_grad():
        states = model(input_ids=padded, attention_mask=mask, output_hidden_states=True).hidden_states
    means = [(states[layer].float() * mask[..., None]).sum(1) / mask.sum(1, keepdim=True) for layer in layers]
    return torch.cat(means, 1).cpu().numpy()


def teach(
    rated: np.ndarray, targets: np.ndarray, other: np.ndarray, seed: int = 0, steps: int = 40
) -> tuple[np.ndarray, np.ndarray]:
    """What the teacher says of the rated texts, each left out (n, D), and of other texts (m, D).

    `rated` (n, F) and `other` (m, F) are features, `targets` (n, D) ratings. Hyper-parameters maximise the marginal
    likelihood of a random `SAMPLE` of the rated rows. Memory grows with n² (three matrices of float64).
    """
    centre, scale = rated.mean(0, dtype=np.float64), rated.std(0, dtype=np.float64) + 1e-6
    known = torch.from_numpy(((rated - centre) / scale).astype(np.float32))
    sample = torch.from_numpy(np.random.default_rng(seed).permutation(len(known))[:SAMPLE])
    middle, spread = targets.mean(0), targets.std(0).clip(1e-6)
    wanted = torch.from_numpy(((targets - middle) / spread).astype(np.float32))
    blocks = [known.shape[1]]
    pairs = products(known, known, blocks)
    own, said = np.zeros_like(targets, np.float32), np.zeros((len(other), targets.shape[1]), np.float32)
    for dimension in range(targets.shape[1]):
        y = wanted[:, dimension]
        process = _fitted(products(known[sample], known[sample], blocks), y[sample], steps)
        with torch.no_grad():
            weights, inverse = process.condition(*pairs, y)
            own[:, dimension] = (y - weights / inverse.diagonal()).numpy()
            for start in range(0, len(other), 2048):
                part = torch.from_numpy(((other[start : start + 2048] - centre) / scale).astype(np.float32))
                said[start : start + 2048, dimension] = process.kernel(*products(part, known, blocks)) @ weights
    return own * spread + middle, said * spread + middle


def _fitted(pairs: tuple[Tensor, Tensor], y: Tensor, steps: int) -> GaussianProcess:
    process = GaussianProcess(1)
    optimizer = torch.optim.Adam(process.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        process.loss(*pairs, y).backward()
        optimizer.step()
    return process

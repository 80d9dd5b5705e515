"""Training-time changes of clips and filter banks on whole batches: pictures, loudness, hidden stretches, mixing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from affectus.features.inputs import IMAGENET
from affectus.nn.augment import ImageAugment

#: Only another cut-out of the picture: what masked pre-training changes.
CROP = ImageAugment(rotation=0, shear=0, flip=0, brightness=0, contrast=0, gamma=0, blur=0, low_resolution=0, noise=0,
                    erase=0)  # fmt: skip


def augment_talk(
    batch: Mapping[str, Any], pictures: ImageAugment | None, options: Mapping[str, Any], specs: Mapping[str, Any]
) -> dict[str, Any]:
    """A batch of `video` (ImageNet statistics) and `audio` (filter banks of a `FbankInput`) changed as told.

    `pictures` changes video; options for audio are `gain` (loudness, true or false), `shift` (frames), `hide_time`
    (frames) and `hide_bands` (bands). What the batch lacks is passed over.
    """
    changed = dict(batch)
    if pictures is not None and batch.get("video") is not None:
        changed["video"] = augment_clips(batch["video"], pictures, IMAGENET)
    if (audio := batch.get("audio")) is not None:
        spec = specs["audio"]
        if options.get("gain"):
            audio = change_gain(audio, spec.mean, spec.std * (2 if spec.doubled else 1))
        if shift := int(options.get("shift", 0)):
            audio = shift_time(audio, shift)
        for name, axis in (("hide_time", -2), ("hide_bands", -1)):
            if most := int(options.get(name, 0)):
                audio = hide_stretch(audio, most, axis)
        changed["audio"] = audio
    return changed


def augment_clips(clips: Tensor, change: ImageAugment, statistics: tuple[Sequence[float], Sequence[float]]) -> Tensor:
    """Standardised clips (B, C, T, H, W) changed like pictures, every clip with one draw for all its frames."""
    mean, deviation = (clips.new_tensor(values).view(1, -1, 1, 1, 1) for values in statistics)
    pixels = ((clips * deviation + mean) * 255).flatten(1, 2)  # frames become channels of one picture
    changed = change(pixels.cpu()).to(clips)  # it draws its numbers on the processor
    return (changed.view_as(clips) / 255 - mean) / deviation


def change_gain(banks: Tensor, mean: float, scale: float, strength: float = 10.0) -> Tensor:
    """Filter banks `(log power - mean) / scale`, (B, …), as if every waveform were multiplied by Beta(k, k) + 0.5.

    `strength` is k (HiCMAE: 10). Padding, which is log power 0 in published front ends, stays as it is.
    """
    gain = torch.distributions.Beta(strength, strength).sample((len(banks),)).to(banks) + 0.5
    shift = (2 * gain.log() / scale).view(-1, *(1,) * (banks.ndim - 1))
    return torch.where(banks == -mean / scale, banks, banks + shift)


def shift_time(banks: Tensor, most: int) -> Tensor:
    """Filter banks (…, time, bands), each rolled by up to `most` frames either way; one draw per item (first axis)."""
    by = torch.randint(-most, most + 1, (len(banks),), device=banks.device)
    rows = (torch.arange(banks.shape[-2], device=banks.device) - by[:, None]) % banks.shape[-2]  # (B, time)
    index = rows.view(len(banks), *(1,) * (banks.ndim - 3), -1, 1).expand(banks.shape)
    return banks.gather(-2, index)


def hide_stretch(banks: Tensor, most: int, axis: int) -> Tensor:
    """Filter banks with up to `most` neighbouring rows of one axis set to 0 (their mean), one stretch per item.

    Park et al., "SpecAugment", 2019.
    """
    size = banks.shape[axis]
    place = torch.arange(size, device=banks.device)
    length = torch.rand(len(banks), 1, device=banks.device) * min(most, size)
    start = torch.rand(len(banks), 1, device=banks.device) * (size - length)
    hidden = (place >= start.floor()) & (place < (start + length).floor())  # (B, size)
    shape = [len(banks)] + [1] * (banks.ndim - 1)
    shape[axis] = size
    return banks.masked_fill(hidden.view(shape), 0.0)


def mix_batch(
    parts: dict[str, Tensor], targets: Tensor, mixup: float = 0.8, cutmix: float = 1.0, cut: str = ""
) -> tuple[dict[str, Tensor], Tensor]:
    """Mixup or cutmix of a batch with itself in reverse order, one draw per batch as in timm.

    `parts` are mixed alike, `targets` (B, classes) are soft. Cutmix, chosen half of the time where both are on, pastes
    a rectangle of the last two axes into the part named `cut` and mixes targets by its area; other parts then stay.
    """
    if mixup <= 0 and cutmix <= 0:
        return parts, targets
    use_cut = bool(cut) and cutmix > 0 and (mixup <= 0 or float(torch.rand(())) < 0.5)
    alpha = cutmix if use_cut else mixup
    if alpha <= 0:
        return parts, targets
    weight = float(torch.distributions.Beta(alpha, alpha).sample())
    if use_cut:
        pasted, weight = _paste(parts[cut], weight)
        return {**parts, cut: pasted}, weight * targets + (1 - weight) * targets.flip(0)
    mixed = {name: weight * part + (1 - weight) * part.flip(0) for name, part in parts.items()}
    return mixed, weight * targets + (1 - weight) * targets.flip(0)


def _paste(part: Tensor, weight: float) -> tuple[Tensor, float]:
    """Cutmix of one tensor, and the share of it that is left (Yun et al., 2019)."""
    height, width = part.shape[-2:]
    ratio = (1 - weight) ** 0.5
    middle = torch.rand(2).tolist()
    spans = []
    for size, centre in zip((height, width), middle, strict=True):
        at, half = int(centre * size), int(size * ratio) // 2
        spans.append((max(0, at - half), min(size, at + half)))
    (top, bottom), (left, right) = spans
    out = part.clone()
    out[..., top:bottom, left:right] = part.flip(0)[..., top:bottom, left:right]
    return out, 1 - (bottom - top) * (right - left) / (height * width)

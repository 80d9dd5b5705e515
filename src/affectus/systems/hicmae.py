"""HiCMAE: a pair of encoders for face video and voice, pre-trained by masking and by contrast layer after layer.

Pre-training hides most of a clip and of its sound, rebuilds both, and asks at three depths of the encoders which sound
belongs to which clip. Decoders read the tapped encoder layers through cross-attention, deepest first, like a U-Net.
Fine-tuning drops the decoders and pools every layer of both encoders and both fused streams.

    video (B, 3, 16, 160, 160) ── tubelets 2×16×16 ─► 800 tokens, 80 visible  ─► 10 blocks ┐ 2 cross+self blocks, both
    audio (B, [1,] 256, 128) ──── patches 16×16 ────► 128 tokens, 26 visible  ─► 10 blocks ┘ streams at the same time
    pre-train: fused visible + mask tokens ─► decoder (taps 10, 7, 4 as context) ─► (B, 720, 1536), (B, 102, 256)
    fine-tune: [layer-mixed video | layer-mixed audio | fused video | fused audio] (B, 4·512) ─► LN ─► logits or values

With `modalities=("audio",)` or `("video",)` one branch stands alone: no fusion, no contrast, and the layer-mixed vector
of that branch is the feature.

Deviations: sound and pictures come from the middle of a clip (published: a random window in training, two averaged in
testing); whole-batch changes of place, light and sharpness stand in for RandAugment; loudness changes in training only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus import labels as label_spaces
from affectus.corpora.synthetic import talking_face
from affectus.errors import ConfigError
from affectus.features.inputs import InputSpec
from affectus.nn import vit
from affectus.nn.audio_visual import ENDS, Decoder, Encoder, Fusion, TalkingClip
from affectus.nn.augment import ImageAugment
from affectus.nn.clip_augment import CROP, augment_talk, mix_batch
from affectus.nn.losses.contrastive import info_nce
from affectus.nn.losses.reconstruction import masked_mse
from affectus.nn.losses.regression import regression_loss
from affectus.nn.masking import Mask
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, Outputs, System, batch_of, load_strictly, require, unwrap
from affectus.systems.card import Published, SystemCard

_README, _PAPER = "README of the public code", "arXiv 2401.05698v2"
CARD = SystemCard(
    name="hicmae",
    title="HiCMAE: hierarchical contrastive masked autoencoder for audio-visual emotion recognition",
    year=2024,
    paper="arXiv 2401.05698; Information Fusion 108, art. 102382",
    code="github.com/sunlicai/HiCMAE",
    summary="Two encoders for face video and voice, pre-trained without labels by masked autoencoding and layer-wise "
    "contrast, fine-tuned for expression classes or dimensions; either branch also works alone.",
    modalities=("video", "audio"),
    perspective="expressed",
    task="expression class of a clip, or arousal, valence and dominance",
    space="cremad6",
    labels=("anger", "disgust", "fear", "happiness", "neutral", "sadness"),
    dimensions=("arousal", "valence", "dominance"),
    licence={
        "code": "MIT",
        "weights": "MIT repository, no separate statement",
        "data": "VoxCeleb2 and the fine-tuning corpora: research use",
    },
    weights="link in the README of the public code: Base pre-trained on VoxCeleb2, folds of CREMA-D and MAFW",
    published=(
        Published("crema_d", "uar", 0.8494, "5 folds pooled, fine-tuned Base, 2×2 views", _README),
        Published("crema_d", "accuracy", 0.8491, "5 folds pooled, fine-tuned Base, 2×2 views", _README),
        Published("mafw", "uar", 0.4269, "11 classes, 5 folds pooled", _README),
        Published("mafw", "accuracy", 0.5621, "11 classes, 5 folds pooled", _README),
        Published("dfew", "accuracy", 0.7501, "audio and video, 5 folds", _PAPER),
        Published("ravdess", "accuracy", 0.8799, "6 folds of subjects, audio and video", _PAPER),
        Published("crema_d", "accuracy", 0.7101, "audio branch alone", _PAPER),
    ),
    stages=("pretrain", "finetune"),
    deviations=(
        "one middle window in place of random and averaged ones",
        "whole-batch augmentation in place of RandAugment",
        "loudness changes in training only",
    ),
    limits=("Acted or broadcast speech with one visible speaker; sound and face must belong together.",),
)
#: Label space by number of classes in published heads; three outputs are dimensions.
_HEADS = {6: "cremad6", 11: "mafw11", 43: "mafw43", 8: "ravdess8", 7: "dfew7", 4: "msp_improv4"}
_ACTIVATIONS = {"": nn.Identity, "sigmoid": nn.Sigmoid, "relu": nn.ReLU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class Config(TalkingClip):
    """Sizes and settings beside the geometry of a clip; the defaults are the published Base model.

    `taps` are the encoder layers (from 0) for contrast and skips, one fewer than `decoder_depth`; without taps there is
    neither (ablation). With `dimensions` the head gives values in place of classes. `mixing` "last" pools the last
    layer only (ablation).
    """

    width: int = 512
    heads: int = 8
    depth: int = 10
    fusion_depth: int = 2
    decoder_width: int = 384
    decoder_heads: int = 6
    decoder_depth: int = 4
    taps: tuple[int, ...] = (3, 6, 9)
    temperature: float = 0.07
    contrast: float = 0.0025
    drop_path: float = 0.1
    mixing: Literal["layers", "last"] = "layers"
    activation: Literal["", "sigmoid", "relu", "tanh"] = ""
    space: str = "cremad6"
    labels: tuple[str, ...] = CARD.labels
    dimensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.taps) not in (0, self.decoder_depth - 1) or any(not 0 <= tap < self.depth for tap in self.taps):
            raise ValueError(f"taps {self.taps} must be {self.decoder_depth - 1} of the {self.depth} layers, from 0")

    @classmethod
    def base(cls) -> Config:
        """The published Base model (81 M parameters fine-tuned)."""
        return cls()

    @classmethod
    def small(cls) -> Config:
        """The published Small model (46 M)."""
        return cls(width=384, heads=6, decoder_width=192, decoder_heads=3)

    @classmethod
    def smallest(cls) -> Config:
        """The width-256 model of the public fine-tuning code (20.5 M)."""
        return cls(width=256, heads=4, decoder_width=128, decoder_heads=2)

    @classmethod
    def voice(cls) -> Config:
        """The audio branch alone at a size that one processor trains: 3.84 s, 192 tokens."""
        return cls(modalities=("audio",), width=192, heads=3, depth=6, taps=(1, 3, 5), decoder_width=96,
                   decoder_heads=3, audio_frames=384)  # fmt: skip

    @classmethod
    def tiny(cls) -> Config:
        """For tests: 32 video and 32 audio tokens."""
        return cls(width=32, heads=2, depth=3, fusion_depth=1, decoder_width=16, decoder_heads=2, decoder_depth=3,
                   taps=(0, 2), size=32, frames=4, stride=1, patch=8, audio_frames=64, mels=32, audio_patch=8,
                   drop_path=0.0)  # fmt: skip


_Config = Config  # the classes below have an attribute of that name


class _HiCMAE(System):
    """What both stages share: inputs and examples."""

    card = CARD
    Config = Config
    config: _Config

    def inputs(self) -> dict[str, InputSpec]:
        return self.config.inputs()

    def example(self, count: int, seed: int = 0) -> Batch:
        random, c = np.random.default_rng(seed), self.config
        classes = np.arange(count) % len(self.labels())
        seconds = 0.01 * c.audio_frames + 0.015
        raws = [talking_face(self.labels()[k], random, c.frames, max(48, c.size), seconds) for k in classes]
        batch = batch_of(raws, self.inputs())
        if c.dimensions:
            points = np.cos(classes[:, None] * (1 + np.arange(len(c.dimensions)))).astype("f4")
            return batch | {"values": torch.from_numpy(points)}
        return batch | {"label": torch.from_numpy(classes)}

    def encoder_of(self, kind: str, drop_path: float = 0.0) -> Encoder:
        """A fresh encoder of one modality."""
        c = self.config
        return Encoder(c.embedding(kind, c.width), c.tokens(kind), c.width, c.heads, c.depth, drop_path)

    def part(self, name: str, kind: str) -> Any:
        """The part of one modality under its published name."""
        return getattr(self, name + ENDS[kind])


class HiCMAEPretraining(_HiCMAE):
    """Masked autoencoding with layer-wise contrast. Masks (B, tokens; True where hidden) may be given as `video_mask`
    and `audio_mask`; otherwise they are drawn: tubes for video, anywhere for audio."""

    stage = "pretrain"
    select = "-loss"
    overfit = (80, 3e-3, 0.92)  # random masks: hidden noise of the pictures cannot be learnt by heart
    bulky: ClassVar[tuple[str, ...]] = ("video_rebuilt", "audio_rebuilt", "video_hidden", "audio_hidden")

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        for kind in c.modalities:
            end = ENDS[kind]
            self.add_module("encoder" + end, self.encoder_of(kind))
            skips = len(c.taps)
            decoder = Decoder(c.decoder_width, c.decoder_heads, c.values(kind), c.decoder_depth - skips, skips)
            self.add_module("decoder" + end, decoder)
            self.add_module("encoder_to_decoder" + end, nn.Linear(c.width, c.decoder_width, bias=False))
            self.register_parameter("mask_token" + end, nn.Parameter(torch.zeros(1, 1, c.decoder_width)))
            table = vit.sinusoid_table(c.tokens(kind), c.decoder_width)
            self.add_module("decoder_positions" + end, vit.Positions(table))
        if len(c.modalities) > 1:
            self.encoder_fusion = Fusion(c.width, c.heads, c.fusion_depth)
        vit.initialise(self)
        for kind in c.modalities:
            nn.init.trunc_normal_(self.part("mask_token", kind), std=0.02, a=-0.02, b=0.02)

    def forward(self, batch: Batch) -> Outputs:
        """Per modality: `…_rebuilt` (B, hidden, values of a patch), `…_hidden` (B, hidden) positions, and `…_taps`
        (B, taps, width), the mean visible token of every tapped layer."""
        c = self.config
        require(batch, *c.modalities)
        layers = tuple(sorted({*c.taps, c.depth - 1}))
        outputs, last, taps, masks = {}, {}, {}, {}
        for kind in c.modalities:
            x = c.shaped(batch, kind)
            masks[kind] = c.mask(kind, x, batch.get(f"{kind}_mask"))
            found = self.part("encoder", kind)(x, layers, masks[kind].visible)
            last[kind], taps[kind] = found[-1], found[: len(c.taps)]
        if len(c.modalities) > 1:
            last["video"], last["audio"] = self.encoder_fusion(last["video"], last["audio"])
        for kind in c.modalities:
            outputs[f"{kind}_rebuilt"] = self.rebuild(kind, last[kind], taps[kind], masks[kind])
            outputs[f"{kind}_hidden"] = masks[kind].hidden
            if c.taps:
                outputs[f"{kind}_taps"] = torch.stack([tap.mean(1) for tap in taps[kind]], 1)
        return outputs

    def rebuild(self, kind: str, x: Tensor, taps: list[Tensor], mask: Mask) -> Tensor:
        """Hidden patches (B, hidden, values) from fused visible tokens (B, visible, width) and encoder taps."""
        project, positions = self.part("encoder_to_decoder", kind), self.part("decoder_positions", kind)
        seen = positions(mask.visible)  # (B, visible, decoder_width)
        unseen = self.part("mask_token", kind) + positions(mask.hidden)
        full = torch.cat([project(x) + seen, unseen], 1)
        return self.part("decoder", kind)(full, mask.hidden.shape[1], [project(tap) + seen for tap in taps])

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Squared error per modality over hidden patches, and λ times the summed contrast of the tapped layers."""
        c, found = self.config, {}
        for kind in c.modalities:
            target = c.target(kind, c.shaped(batch, kind))
            found[kind] = masked_mse(outputs[f"{kind}_rebuilt"], target, outputs[f"{kind}_hidden"])
        if len(c.modalities) > 1 and c.taps:
            pairs = zip(outputs["video_taps"].unbind(1), outputs["audio_taps"].unbind(1), strict=True)
            found["contrast"] = c.contrast * torch.stack([info_nce(v, a, c.temperature) for v, a in pairs]).sum()
        return found

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        return augment_talk(batch, CROP if options.get("crop") else None, options, self.inputs())

    def phases(self) -> list[Phase]:
        """VoxCeleb2, 100 epochs, 4 × 40 clips; the learning rate is 3e-4 · batch / 256, warm-up 5 epochs."""
        return [Phase("pretrain", epochs=100, lr=1.875e-4, batch_size=160, weight_decay=0.05, warmup=0.05,
                      final_lr=1 / 30, betas=(0.9, 0.95), clip=0.0,
                      options={"crop": True, "gain": True})]  # fmt: skip

    @classmethod
    def from_published(cls, state: Mapping[str, Any], config: _Config | None = None) -> Self:
        """The public pre-training checkpoint, whole or its `model`; sizes are read off it without a config."""
        found = unwrap(state)
        system = cls(config or _sizes(found))
        load_strictly(system, found, "HiCMAE pre-training checkpoint")
        return system


class HiCMAE(_HiCMAE):
    """Fine-tuning and recognition."""

    stage = "finetune"
    overfit = (60, 3e-3, 0.5)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        for kind in c.modalities:
            self.add_module("encoder" + ENDS[kind], self.encoder_of(kind, c.drop_path))
        vit.initialise(self, "normal")
        joint = len(c.modalities) > 1
        if joint:
            self.encoder_fusion = Fusion(c.width, c.heads, c.fusion_depth, c.drop_path)
            vit.initialise(self.encoder_fusion)
        if c.mixing == "layers":
            for kind in c.modalities:
                start = nn.Parameter(torch.full((c.depth,), 1 / c.depth))
                self.register_parameter(f"{kind}_layer_weights", start)
        features = c.width * (4 if joint else 1)
        self.fc_norm = nn.LayerNorm(features, eps=1e-6)
        self.head = nn.Linear(features, len(c.dimensions or c.labels))
        self.activation = _ACTIVATIONS[c.activation]()

    def forward(self, batch: Batch) -> Outputs:
        """`logits` (B, classes) or `values` (B, dimensions), and `embedding`, the normalised feature."""
        c = self.config
        require(batch, *c.modalities)
        last, pooled = {}, []
        for kind in c.modalities:
            layers = tuple(range(c.depth)) if c.mixing == "layers" else (c.depth - 1,)
            found = self.part("encoder", kind)(c.shaped(batch, kind), layers)
            last[kind] = found[-1]  # (B, N, width)
            means = torch.stack([layer.mean(1) for layer in found], 1)  # (B, layers, width)
            if c.mixing == "layers":
                weights = getattr(self, f"{kind}_layer_weights").softmax(0)
                means = means * weights.view(1, -1, 1)
            pooled.append(means.sum(1))
        if len(c.modalities) > 1:
            pooled += [stream.mean(1) for stream in self.encoder_fusion(last["video"], last["audio"])]
        embedding = self.fc_norm(torch.cat(pooled, -1))
        name = "values" if c.dimensions else "logits"
        return {name: self.activation(self.head(embedding)), "embedding": embedding}

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """Pictures and sound as told by the options; then mixup or cutmix of video (and of sound with `mix_audio`)."""
        batch = augment_talk(batch, ImageAugment() if options.get("pictures") else None, options, self.inputs())
        mixup, cutmix = float(options.get("mixup", 0)), float(options.get("cutmix", 0))
        if "label" in batch and mixup + cutmix > 0:
            video = "video" in self.config.modalities
            kinds = [k for k in self.config.modalities if k == "video" or options.get("mix_audio") or not video]
            soft = functional.one_hot(batch["label"], len(self.labels())).float()
            mixed, soft = mix_batch({k: batch[k] for k in kinds}, soft, mixup, cutmix, "video" if video else "")
            batch |= {**mixed, "soft": soft}
        return batch

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Cross-entropy towards labels (soft ones after mixing; `smoothing` as told), or a regression loss: `loss` is
        mse (default), l1, smooth_l1, ccc or pcc."""
        if "logits" in outputs:
            target = batch["soft"] if "soft" in batch else batch["label"]
            smoothing = float((options or {}).get("smoothing", 0.0))
            return {"class": functional.cross_entropy(outputs["logits"].float(), target, label_smoothing=smoothing)}
        kind = (options or {}).get("loss", "mse")
        return {"values": regression_loss(outputs["values"], batch["values"], kind)}

    def depth(self, name: str) -> int:
        """Head, norms and layer weights 0, fusion blocks next, patch embeddings last, as in the public code."""
        c = self.config
        fused = c.fusion_depth if len(c.modalities) > 1 else 0
        if "patch_embed" in name:
            return c.depth + fused + 1
        if ".blocks" not in name:
            return 0
        layer = int(name.split(".")[2])
        return fused - layer if name.startswith("encoder_fusion") else fused + c.depth - layer

    def phases(self) -> list[Phase]:
        """MAFW: 100 epochs (CREMA-D 50), 4 × 14 clips; the learning rate is 1e-3 · batch / 256, warm-up 5 epochs."""
        options = {"pictures": True, "gain": True, "mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1}
        return [Phase("finetune", epochs=100, lr=2.1875e-4, batch_size=56, weight_decay=0.05, warmup=0.05,
                      final_lr=1e-3, layer_decay=0.75, clip=0.0, options=options)]  # fmt: skip

    @classmethod
    def from_published(cls, state: Mapping[str, Any], config: _Config | None = None) -> Self:
        """A public fine-tuned checkpoint; or the pre-training one, whose decoders are then left out and whose head,
        layer weights and last norm start fresh; a one-branch config then takes its branch of both."""
        found = unwrap(state)
        system = cls(config or _sizes(found))
        if any(key.startswith("decoder") for key in found):
            unused = ("decoder", "encoder_to_decoder", "mask_token")
            found = {key: value for key, value in found.items() if not key.startswith(unused)}
            fresh = ("fc_norm.", "head.", "video_layer_weights", "audio_layer_weights")
            own = {key: value for key, value in system.state_dict().items() if key.startswith(fresh)}
            if len(system.config.modalities) == 1:
                branch = f"encoder{ENDS[system.config.modalities[0]]}."
                found = {key: value for key, value in found.items() if key.startswith(branch)}
            found = {**own, **found}
        load_strictly(system, found, "HiCMAE checkpoint")
        return system


STAGES = {"pretrain": HiCMAEPretraining, "finetune": HiCMAE}


def _sizes(state: Mapping[str, Tensor]) -> Config:
    """The config of a published state dict; raises ConfigError where it cannot tell."""
    kinds = tuple(kind for kind, end in ENDS.items() if f"encoder{end}.patch_embed.proj.weight" in state)
    if not kinds:
        raise ConfigError("HiCMAE checkpoint", "holds no encoder.patch_embed.proj.weight", "give its `model` part")

    def count(prefix: str) -> int:
        return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})

    end = ENDS[kinds[0]]
    width, depth = len(state[f"encoder{end}.patch_embed.proj.weight"]), count(f"encoder{end}.blocks.")
    decoder = count(f"decoder{end}.blocks.") or 4
    taps = Config.taps if (depth, decoder) == (10, 4) else tuple(round((i + 1) * (depth - 1) / (decoder - 1))
                                                                 for i in range(decoder - 1))  # fmt: skip
    config = Config(modalities=kinds, width=width, heads=max(1, width // 64), depth=depth, decoder_depth=decoder,
                    fusion_depth=count("encoder_fusion.blocks."), taps=taps)  # fmt: skip
    if (token := state.get(f"mask_token{end}")) is not None:
        config = replace(config, decoder_width=token.shape[-1], decoder_heads=max(1, token.shape[-1] // 64))
    if (head := state.get("head.weight")) is None:
        return config
    if len(head) == 3:
        return replace(config, dimensions=CARD.dimensions)
    if len(head) not in _HEADS:
        raise ConfigError("HiCMAE checkpoint", f"has {len(head)} outputs of unknown meaning", "give a config")
    return replace(config, space=_HEADS[len(head)], labels=tuple(label_spaces.space(_HEADS[len(head)]).labels))

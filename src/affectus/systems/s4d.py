"""S4D (first version: UniLearn): stills help clips. One ViT for face pictures and face clips, trained on both at once.

Pre-training rebuilds hidden cubes of pictures (90 % hidden) and clips (95 %) from the visible ones. Fine-tuning
alternates between labelled clips and labelled stills; the upper half of the blocks has a mixture of adapter experts
beside the MLP, so that tokens of both tasks can go different ways where the tasks disagree.

    clip  (B, 3, 16, 160, 160) ── tubelets 2×16×16 ──► 800 tokens ┐
    image (B, 3, 160, 160) ── shown twice, one tubelet ► 100 tokens ┘+ fixed sinusoids (an image: rows of time slot 0)
    pre-train: visible tokens → encoder 12×768 → 384, mask tokens put in, + positions → 4 blocks → 1536 per token
    fine-tune: all tokens → blocks 0–5 plain, 6–11 x += MLP(LN x) + MoAE(LN x) → mean → LN → head of clips or of images

A batch holds `clip`, `image` or both; each goes through its own head, to `logits` and `image_logits`. In the published
schedule a step is all clips or all images.

Deviations: router noise and expert capacity apply in training only, so a prediction depends neither on chance nor on
batch mates; the balance loss multiplies shares with softmax probabilities, since with raw logits it has no lower bound.
`parity="published"` does as the public code does in all three. One middle view is classified (paper: the mean of two
temporal views) and a clip is masked once per step (paper: four crops, four masks); whole-batch changes of the pictures
take the place of RandAugment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from affectus.corpora import Corpus
from affectus.corpora.synthetic import face_image
from affectus.errors import ConfigError, ModelError
from affectus.features.inputs import IMAGENET, ClipInput, ImageInput, InputSpec
from affectus.labels import lookup, space
from affectus.nn import vit
from affectus.nn.augment import ImageAugment
from affectus.nn.clip_augment import CROP, augment_clips, mix_batch
from affectus.nn.experts import ExpertBlock, MixtureOfAdapters
from affectus.nn.losses.reconstruction import masked_mse, video_target
from affectus.nn.masking import Mask, gather, hidden_count, mask_from_bool, random_mask, scatter
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, Outputs, System, batch_of, load_strictly, require, unwrap
from affectus.systems.card import Published, SystemCard
from affectus.types import Prediction

_PAPER = "arXiv 2409.06154"
CARD = SystemCard(
    name="s4d", title="Static for Dynamic: dynamic facial expressions helped by static expression data", year=2024,
    paper="arXiv 2409.06154; IEEE TAFFC 2025, doi 10.1109/TAFFC.2025.3623135", code="github.com/MSA-LMC/S4D",
    summary="One ViT for face pictures and clips: joint masked pre-training, then joint fine-tuning with mixtures of "
    "adapter experts, so that labelled stills improve recognition in clips.",
    modalities=("video", "image"), perspective="expressed",
    task="one of seven expressions of a face clip (or of a face picture, through a second head)",
    space="dfew7", labels=("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear"),
    licence={"code": "Apache-2.0 (parts derive from OmniVision and VideoMAE, which have their own terms)",
             "weights": "not stated",
             "data": "VoxCeleb2, AffectNet, DFEW, FERV39K, MAFW: research use after agreement"},
    weights="Hugging Face cyinen/S4D: vit_base_voxceleb2+affectnet_100.pt (pre-trained)",
    published=(Published("ferv39k", "accuracy", 0.5365, "official split, 2×2 views", _PAPER),
               Published("mafw", "accuracy", 0.5844, "mean of 5 folds, 2×2 views", _PAPER),
               Published("dfew", "accuracy", 0.7668, "mean of 5 folds, 2×2 views", _PAPER)),
    stages=("pretrain", "finetune"), missing="handled",
    deviations=("router noise and expert capacity in training only",
                "balance loss with router probabilities in place of raw logits", "one temporal view by default"),
    limits=("Seven labels of film clips; faces must be frontal enough to be detected and aligned.",
            "A picture file is read as a clip that stands still; a batch with `image` alone goes to the image head."),
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Sizes and settings; the defaults are the published base model. `expert_layers` counts blocks from the top."""

    image: int = 160
    frames: int = 16
    patch: int = 16
    tubelet: int = 2
    stride: int = 4
    width: int = 768
    depth: int = 12
    heads: int = 12
    decoder_width: int = 384
    decoder_depth: int = 4
    decoder_heads: int = 6
    experts: int = 8
    chosen: int = 2
    adapter: int = 192
    expert_layers: int = 6
    capacity: float = 1.0
    balance: float = 1e-3
    smoothing: float = 0.1
    drop_path: float = 0.0
    video_mask: float = 0.95
    image_mask: float = 0.90
    space: str = "dfew7"
    labels: tuple[str, ...] = CARD.labels
    image_space: str = "affectnet7"
    image_labels: tuple[str, ...] = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
    parity: Literal["correct", "published"] = "correct"

    @classmethod
    def small(cls) -> Config:
        """The published small encoder and decoder."""
        return cls(width=384, heads=6, decoder_width=192, decoder_heads=3, adapter=96)

    @classmethod
    def base(cls) -> Config:
        """The published base model."""
        return cls()

    @classmethod
    def large(cls) -> Config:
        """The published large encoder and decoder."""
        return cls(width=1024, depth=24, heads=16, decoder_width=512, decoder_heads=8, adapter=256, expert_layers=12)

    @classmethod
    def tiny(cls) -> Config:
        """For tests: 32 tokens of a clip, 16 of an image."""
        return cls(image=32, frames=4, patch=8, stride=1, width=32, depth=4, heads=2, decoder_width=24, decoder_depth=1,
                   decoder_heads=2, experts=4, adapter=8, expert_layers=2)  # fmt: skip

    @property
    def tokens(self) -> int:  # of a clip
        return self.frames // self.tubelet * (self.image // self.patch) ** 2


class Encoder(nn.Module):
    """Tubelet embedding, positions, blocks; either mixtures in the upper blocks (`experts`) or a last norm."""

    def __init__(self, config: Config, experts: bool) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = vit.TubeletEmbedding(config.width, config.patch, config.tubelet)
        self.positions = vit.Positions(vit.sinusoid_table(config.tokens, config.width))
        rates = vit.drop_path_rates(config.drop_path, config.depth)
        first = config.depth - config.expert_layers if experts else config.depth
        self.blocks = nn.ModuleList(self._block(rate, i >= first) for i, rate in enumerate(rates))
        self.norm = nn.Identity() if experts else nn.LayerNorm(config.width, eps=1e-6)

    def _block(self, rate: float, experts: bool) -> vit.Block:
        c = self.config
        if not experts:
            return vit.Block(c.width, c.heads, drop_path=rate)
        mixture = MixtureOfAdapters(c.width, c.adapter, c.experts, c.chosen, c.capacity, c.parity)
        return ExpertBlock(c.width, c.heads, mixture, rate)

    def as_clip(self, pixels: Tensor) -> Tensor:
        """Clips (B, 3, frames, S, S) as they are; images (B, 3, S, S) shown for one tubelet. Raises ConfigError."""
        c = self.config
        if pixels.ndim == 4:
            pixels = pixels[:, :, None].expand(-1, -1, c.tubelet, -1, -1)
        if tuple(pixels.shape[1:]) not in [(3, frames, c.image, c.image) for frames in (c.frames, c.tubelet)]:
            wanted = f"clips (items, 3, {c.frames}, {c.image}, {c.image}), images (items, 3, {c.image}, {c.image})"
            raise ConfigError("clip or image", f"has shape {tuple(pixels.shape)}", wanted)
        return pixels

    def forward(self, clip: Tensor, visible: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`clip` (B, 3, T, S, S) → tokens (B, N or visible, width), and the summed balance loss."""
        x = self.patch_embed(clip, visible)
        x = x + self.positions(visible)[:, : x.shape[1]]
        balance = x.new_zeros(())
        for block in self.blocks:
            if isinstance(block, ExpertBlock):
                x, part = block.routed(x)
                balance = balance + part
            else:
                x = block(x)
        return self.norm(x), balance


class Decoder(nn.Module):
    """All tokens (B, N, decoder_width) in their order → pixels of every cube (B, N, tubelet · patch² · 3)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.decoder_width
        self.positions = vit.Positions(vit.sinusoid_table(config.tokens, width))
        self.blocks = nn.Sequential(*(vit.Block(width, config.decoder_heads) for _ in range(config.decoder_depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, 3 * config.tubelet * config.patch**2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(x + self.positions()[:, : x.shape[1]])))


class _S4D(System):
    """What both stages share: inputs, examples, and what a corpus gives."""

    card = CARD
    Config = Config

    def inputs(self) -> dict[str, InputSpec]:
        picture = ImageInput(self.config.image, of="face")
        return {"clip": ClipInput(self.config.frames, self.config.stride, picture=picture), "image": picture}

    def inputs_for(self, corpus: Corpus) -> dict[str, InputSpec]:
        """Clips of corpora that have them, else images."""
        wanted = "clip" if "video" in corpus.info.modalities else "image"
        return {wanted: self.inputs()[wanted]}

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """`label` of clips; `image_label` of pictures, where labels that the image head lacks count as none."""
        if "video" in corpus.info.modalities:
            return super().targets(corpus, column)
        own = self.config.image_labels
        place = np.array([own.index(name) if name in own else -1 for name in corpus.labels(column)] + [-1])
        return {"image_label": place[corpus.targets(column)]}

    def example(self, count: int, seed: int = 0) -> Batch:
        random, c = np.random.default_rng(seed), self.config
        label, image_label = (torch.arange(count) % len(names) for names in (self.labels(), c.image_labels))
        raws = [{"faces": [face_image(lookup("ekman7", self.labels()[k]), random, c.image) for _ in range(c.frames)],
                 "face": face_image(lookup("ekman7", c.image_labels[s]), random, c.image)}
                for k, s in zip(label, image_label, strict=True)]  # fmt: skip
        return {**batch_of(raws, self.inputs()), "label": label, "image_label": image_label}

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """`crop` or `pictures` changes every item; `mixup` and `cutmix` mix labelled ones, per source."""
        changed, pictures = dict(batch), ImageAugment() if options.get("pictures") else None
        mixup, cutmix = float(options.get("mixup", 0)), float(options.get("cutmix", 0))
        for key, labels in (("clip", self.labels()), ("image", self.config.image_labels)):
            if changed.get(key) is None:
                continue
            if change := pictures or (CROP if options.get("crop") else None):
                clips = changed[key] if key == "clip" else changed[key][:, :, None]
                changed[key] = augment_clips(clips, change, IMAGENET).view_as(changed[key])
            if (target := _TARGETS[key]) in changed and mixup + cutmix > 0:
                soft = one_hot(changed[target], len(labels)).float()
                mixed, changed[target] = mix_batch({key: changed[key]}, soft, mixup, cutmix, key)
                changed |= mixed
        return changed

    def depth(self, name: str) -> int:
        """As VideoMAE: head and last norm 0, the last block 1 … the embedding depth + 1."""
        parts = name.split(".")
        if parts[0] != "encoder" or parts[1] == "norm":
            return 0
        return self.config.depth + 1 if parts[1] == "patch_embed" else self.config.depth - int(parts[2])


class S4DPretraining(_S4D):
    """Joint masked pre-training; `clip_mask` and `image_mask` (B, tokens; True where hidden) may be given."""

    stage = "pretrain"
    select = "-loss"
    overfit = (60, 3e-3, 0.9)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = Encoder(config, experts=False)
        self.encoder_to_decoder = nn.Linear(config.width, config.decoder_width, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_width))
        self.decoder = Decoder(config)
        vit.initialise(self)
        nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.02, b=0.02)

    def forward(self, batch: Batch) -> Outputs:
        """Per source: prediction (B, N, tubelet · patch² · 3) of all tokens, and `…_hidden` (B, H), what was hidden."""
        outputs: Outputs = {}
        for key, ratio in (("clip", self.config.video_mask), ("image", self.config.image_mask)):
            if batch.get(key) is not None:
                clip = self.encoder.as_clip(batch[key])
                mask = self._mask(batch.get(f"{key}_mask"), clip, ratio)
                outputs |= {key: self.rebuild(clip, mask), f"{key}_hidden": mask.hidden}
        if not outputs:
            require(batch, "clip")
        return outputs

    def rebuild(self, clip: Tensor, mask: Mask) -> Tensor:
        """`clip` (B, 3, T, S, S) → normalised pixels of every cube (B, N, tubelet · patch² · 3)."""
        x = self.encoder_to_decoder(self.encoder(clip, mask.visible)[0])  # (B, V, decoder_width)
        return self.decoder(scatter(x, self.mask_token, mask))

    def _mask(self, given: Tensor | None, clip: Tensor, ratio: float) -> Mask:
        if given is not None:
            return mask_from_bool(given)
        tokens = self.config.tokens * clip.shape[2] // self.config.frames
        return random_mask(len(clip), tokens, hidden_count(tokens, ratio), clip.device)

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        return {key: self.rebuilding_loss(batch[key], outputs[key], outputs[f"{key}_hidden"])
                for key in ("clip", "image") if key in outputs}  # fmt: skip

    def rebuilding_loss(self, pixels: Tensor, prediction: Tensor, hidden: Tensor) -> Tensor:
        """Mean over hidden cubes of the squared error to pixels in [0, 1], normalised per cube and colour channel."""
        clip = self.encoder.as_clip(pixels)
        target = video_target(clip, IMAGENET, self.config.tubelet, self.config.patch, in_root=True)
        return masked_mse(gather(prediction, hidden), target, hidden)

    def phases(self) -> list[Phase]:
        """100 epochs on all AffectNet batches and a quarter of the VoxCeleb2 ones; 384 = 2 devices × 192."""
        options = {"shares": {"clip": 0.25, "image": 1.0}, "crop": True}
        return [Phase("pretrain", epochs=100, lr=1.2e-3, batch_size=384, weight_decay=0.05, warmup=0.05, final_lr=0.0,
                      betas=(0.9, 0.95), clip=0.0, options=options)]  # fmt: skip

    @classmethod
    def from_published(cls, state: Mapping[str, Any], config: Config | None = None) -> Self:
        """The public pre-trained checkpoint (`encoder.…`, `decoder.…`, under `model` or `module` or at top level)."""
        state = unwrap(state)
        system = cls(config or _sizes(state))
        load_strictly(system, state, "S4D pre-training checkpoint")
        return system


class S4D(_S4D):
    """Joint fine-tuning and recognition."""

    overfit = (60, 3e-3, 0.6)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = Encoder(config, experts=True)
        self.fc_norm = nn.LayerNorm(config.width, eps=1e-6)
        sizes = {"image": len(config.image_labels), "video": len(config.labels)}
        self.head = nn.ModuleDict({task: nn.Linear(config.width, size) for task, size in sizes.items()})
        vit.initialise(self, "normal")

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (B, 3, T, S, S) or images (B, 3, S, S) → (B, width), and the balance loss."""
        x, balance = self.encoder(self.encoder.as_clip(pixels))
        return self.fc_norm(x.mean(1)), balance

    def forward(self, batch: Batch) -> Outputs:
        """`clip` → `logits`, `embedding`; `image` → `image_logits`, `image_embedding`; and `balance`, a scalar."""
        outputs: Outputs = {}
        balance = torch.zeros((), device=self.fc_norm.weight.device)
        for key, head, prefix in (("clip", "video", ""), ("image", "image", "image_")):
            if batch.get(key) is not None:
                found, part = self.features(batch[key])
                balance = balance + part
                outputs |= {f"{prefix}logits": self.head[head](found), f"{prefix}embedding": found}
        if not outputs:
            require(batch, "clip")
        return outputs | {"balance": balance}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Cross-entropy per source towards labels or soft targets (after mixup), and the weighted balance loss."""
        found: dict[str, Tensor] = {}
        for name, logits in (("clip", "logits"), ("image", "image_logits")):
            if logits in outputs and (target := batch.get(_TARGETS[name])) is not None:
                found[name] = cross_entropy(outputs[logits].float(), target, label_smoothing=self.config.smoothing)
        return found | {"balance": self.config.balance * outputs["balance"]}

    def decode(self, outputs: Outputs) -> list[Prediction]:
        """Predictions of the clips, or of the images where there are no clips."""
        if "logits" in outputs or "image_logits" not in outputs:
            return super().decode(outputs)
        scores = outputs["image_logits"].detach().float().softmax(-1).cpu().numpy()
        return [Prediction(self.config.image_space, self.config.image_labels, row) for row in scores]

    def phases(self) -> list[Phase]:
        """One device; the learning rate is 1e-5 · batch / 8. Images come in batches of 32, half of them per epoch."""
        options = {"shares": {"clip": 1.0, "image": 0.5}, "batch_sizes": {"image": 32},
                   "pictures": True, "mixup": 0.8, "cutmix": 1.0}  # fmt: skip
        return [Phase("finetune", epochs=100, lr=2e-5, batch_size=16, weight_decay=0.05, warmup=0.05,
                      final_lr=6.25e-8 / 2e-5, layer_decay=0.75, clip=0.0, options=options)]  # fmt: skip

    @classmethod
    def from_published(cls, state: Mapping[str, Any], config: Config | None = None) -> Self:
        """A public fine-tuned checkpoint (`patch_embed.…`, `blocks.…`, `fc_norm.…`, `head.image`, `head.video`).

        For the pre-trained one see `S4DPretraining.from_published`, whose weights `initialise` takes over.
        """
        inner = ("patch_embed.", "blocks.")
        state = {f"encoder.{k}" if k.startswith(inner) else k: v for k, v in unwrap(state).items()}
        if "encoder_to_decoder.weight" in state:
            remedy = "read it with S4DPretraining.from_published and hand its state to initialise()"
            raise ModelError("S4D checkpoint", "is a pre-trained one", remedy)
        for published, own in _RENAMED.items():
            state = {k.replace(published, own): v for k, v in state.items()}
        system = cls(config or _sizes(state))
        load_strictly(system, state, "S4D checkpoint")
        return system


_TARGETS = {"clip": "label", "image": "image_label"}
_RENAMED = {
    ".moe_layer.router.topkroute_linear.": ".mixture.router.score.",
    ".moe_layer.router.noise_linear.": ".mixture.router.noise.",
    ".moe_layer.experts.": ".mixture.experts.",
}


def _sizes(state: Mapping[str, Tensor]) -> Config:
    """The published configuration of the width found, its experts counted; a head of eleven is MAFW's, alphabetical."""
    kernel, head = state.get("encoder.patch_embed.proj.weight", ()), state.get("head.video.weight", ())
    found = {c.width: c for c in (Config.small(), Config.base(), Config.large())}.get(len(kernel))
    if found is None:
        raise ModelError("S4D checkpoint", "holds no patch embedding of a published size", "give a config")
    if routers := [v for k, v in state.items() if k.endswith(".router.score.weight")]:
        adapter = next(len(v) for k, v in state.items() if k.endswith(".experts.0.fc1.weight"))
        found = replace(found, expert_layers=len(routers), experts=len(routers[0]), adapter=adapter)
    mafw = replace(found, space="mafw11", labels=tuple(sorted(space("mafw11").labels)))
    return mafw if len(head) == 11 else found


STAGES: dict[str, type[System]] = {"pretrain": S4DPretraining, "finetune": S4D}

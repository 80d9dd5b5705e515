"""UniEmoX: which emotion a picture evokes, by an image ViT pre-trained on scene, person and the semantics of CLIP.

Pre-training (on EmoSet) rebuilds hidden patches of the scene and, in the same pass, draws a vector made of the class
tokens of scene and person towards what CLIP says of the picture and of its described attributes.

    scene I (B, 3, 224, 224) ── mask 75 % ─► ViT-L ─► class token ─ decoder_embed ─► α (B, 512) ┐
    person (B, 3, 224, 224)  ── mask 75 % ─► same  ─► class token ─ decoder_embed ─► β (B, 512) ┴► fusion ─► γ (B, 512)
                                              └─► decoder (scene only) ─► pixels (B, 196, 768)
    CLIP (frozen): I ─► Ω (B, 512), sentences of the attributes ─► Λ (B, 512)
    loss = |pixels − I|² over hidden patches + (1 − cos(γ, Ω)) + (1 − cos(γ Λᵀ, Ω Λᵀ))
    fine-tune: 196 patch tokens → mean → LN → Linear → emotions

The sentences name the emotion, so this is no pre-training without labels. `teacher` names CLIP's size; without one the
batch brings CLIP's features as `teacher_image` and `teacher_text` (B, 512).

Deviations (all but the first two are undone by `parity="published"`): the sentences are our own wording; the person is
the body expected below the largest face, the whole picture without a face (the public code means to use YOLOv3 but
hands on the whole picture); the decoder's patch tokens are compared with the pixels (public: its class token with all
patches); CLIP sees its own colour statistics (public: ImageNet's). Hidden share 0.75 (public default 0.90).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.corpora import Corpus
from affectus.corpora.synthetic import face_image
from affectus.errors import ConfigError, ModelError
from affectus.features.inputs import CLIP_STATISTICS, IMAGENET, ImageInput, InputSpec, TextInput
from affectus.features.persons import PersonInput
from affectus.features.picture_sentences import describe
from affectus.labels import space
from affectus.nn import vit
from affectus.nn.augment import ImageAugment
from affectus.nn.clip import Clip, ClipSizes, load_exactly, published_names
from affectus.nn.clip_augment import augment_clips, mix_batch
from affectus.nn.clip_tokens import clip_tokenizer
from affectus.nn.image_mae import ImageDecoder, ImageEncoder, own_names, resized_positions, visible_count
from affectus.nn.losses.distillation import cosine_distance, profile_distance
from affectus.nn.losses.reconstruction import masked_mse, patch_target
from affectus.nn.masking import Mask, gather, mask_from_bool, random_mask
from affectus.nn.pair_fusion import FusionKind, build_fusion
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, Outputs, System, batch_of, load_strictly, require, unwrap
from affectus.systems.card import Published, SystemCard
from affectus.types import Prediction

CARD = SystemCard(
    name="uniemox", title="UniEmoX: scene and person pre-training with CLIP semantics", year=2024,
    paper="arXiv 2409.18877; IEEE TIP 34 (2025), doi 10.1109/TIP.2025.3587577", code="github.com/chincharles/u-emo",
    summary="Image ViT pre-trained by masked modelling, scene and person fusion and CLIP distillation, fine-tuned for "
    "the emotion that a picture evokes.",
    modalities=("image",), perspective="evoked", task="one of eight emotions that a picture evokes",
    space="mikels8",
    labels=("amusement", "anger", "awe", "contentment", "disgust", "excitement", "fear", "sadness"),
    licence={"code": "MIT by its README (parts of MAE, YOLOv3 and CLIP have their own terms)", "weights": "not stated",
             "data": "EmoSet, FI, Emotion6, UnBiasedEmo, CAER-S, HECO: research use; Emo8: not stated"},
    weights="links in the README: pre-trained for 100 and 200 epochs, six fine-tuned models",
    published=(Published("emo8", "number of benchmarks reported (the values could not be read)", 7.0,
                         "emo8, fi, emotion6, unbiased_emo, caer_s, heco and one more", "arXiv 2409.18877v3"),),
    stages=("pretrain", "finetune"),
    deviations=("own wording of sentences", "person found by face", "patch tokens rebuilt", "CLIP's own statistics"),
    limits=("Says what a picture is likely to evoke in viewers, nothing about the people in it.",),
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Sizes and settings; the defaults are the published ViT-L. `components` are the losses that are on, and whether
    the person takes part (`fusion`)."""

    image: int = 224
    patch: int = 16
    width: int = 1024
    depth: int = 24
    heads: int = 16
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    mask: float = 0.75
    normalise: bool = False
    fusion: FusionKind = "sum"
    components: tuple[str, ...] = ("mae", "similarity", "profile", "fusion")
    teacher: ClipSizes | None = field(default_factory=ClipSizes.base16)
    tokenizer: str = ""
    sentiment: bool = False
    drop_path: float = 0.2
    smoothing: float = 0.1
    space: str = CARD.space
    labels: tuple[str, ...] = CARD.labels
    parity: Literal["correct", "published"] = "correct"

    def __post_init__(self) -> None:
        if isinstance(self.teacher, Mapping):
            object.__setattr__(self, "teacher", ClipSizes(**self.teacher))
        if unknown := sorted(set(self.components) - {"mae", "similarity", "profile", "fusion"}):
            raise ValueError(f"unknown components {', '.join(unknown)}")
        given = (self.decoder_width, self.image)
        if self.teacher and (wanted := (self.teacher.projection, self.teacher.image)) != given:
            raise ValueError(f"decoder width and picture size are {given}, the teacher's {wanted}")

    @classmethod
    def base(cls) -> Config:
        """ViT-B/16."""
        return cls(width=768, depth=12, heads=12)

    @classmethod
    def large(cls) -> Config:
        """ViT-L/16, the published default."""
        return cls()

    @classmethod
    def huge(cls) -> Config:
        """ViT-H/14."""
        return cls(patch=14, width=1280, depth=32)

    @classmethod
    def tiny(cls) -> Config:
        """For tests: 16 patches, a random CLIP."""
        return cls(image=32, patch=8, width=32, depth=2, heads=2, decoder_width=24, decoder_depth=1, decoder_heads=2,
                   teacher=ClipSizes.tiny(), drop_path=0.0)  # fmt: skip

    @property
    def tokens(self) -> int:  # patches of a picture
        return (self.image // self.patch) ** 2


class _UniEmoX(System):
    """What both stages share."""

    card = CARD
    Config = Config
    select = "accuracy"

    def picture(self) -> ImageInput:
        """The middle of a picture at its size, as the public code tests."""
        size = self.config.image
        return ImageInput(size, round(size * 256 / 224), "shorter", IMAGENET, interpolation="bicubic")

    def example(self, count: int, seed: int = 0) -> Batch:
        random, label = np.random.default_rng(seed), torch.arange(count) % len(self.labels())
        raws = [{"image": face_image(_DRAWN.get(name, name), random, self.config.image), "text": describe({}, name)}
                for name in (self.labels()[k] for k in label)]  # fmt: skip
        specs = {name: spec.picture if isinstance(spec, PersonInput) else spec for name, spec in self.inputs().items()}
        return {**batch_of(raws, specs), "label": label}  # a drawn face is the person

    def depth(self, name: str) -> int:
        """Head and norms 0, the last block 1 … the embedding depth + 1."""
        parts = name.split(".")
        if parts[0] != "encoder":
            return 0
        return self.config.depth - int(parts[2]) if parts[1] == "blocks" else self.config.depth + 1


class UniEmoXPretraining(_UniEmoX):
    """Masks (B, tokens; True where hidden) may be given as `image_mask` and `person_mask`."""

    stage = "pretrain"
    select = "-loss"
    overfit = (60, 3e-3, 0.8)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = ImageEncoder(config.image, config.patch, config.width, config.depth, config.heads)
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.decoder = ImageDecoder(config.image, config.patch, config.width, config.decoder_width,
                                    config.decoder_depth, config.decoder_heads)  # fmt: skip
        vit.initialise(self)
        self.fusion = (
            build_fusion(config.fusion, config.decoder_width, config.parity) if "fusion" in config.components else None
        )
        for token in (self.encoder.cls_token, self.decoder.mask_token):
            nn.init.normal_(token, std=0.02)
        self.teacher = Clip(config.teacher).requires_grad_(False) if config.teacher else None

    def inputs(self) -> dict[str, InputSpec]:
        found: dict[str, InputSpec] = {"image": self.picture()}
        if self.fusion is not None:
            found["person"] = PersonInput(self.picture())
        if (sizes := self.config.teacher) is not None:
            tokenizer = clip_tokenizer(self.config.tokenizer, sizes.vocabulary)
            found["text"] = TextInput(
                lambda text: tokenizer([text], sizes.context, cut=True)[0].tolist(), sizes.context
            )
        return found

    def items(self, corpus: Corpus, column: str) -> Any:
        """Pictures of EmoSet with the sentences of their attributes."""
        return _Described(corpus, self.inputs(), self.config.sentiment)

    def encode(self, pixels: Tensor, given: Tensor | None = None) -> tuple[Tensor, Mask]:
        """Pictures → class and visible tokens at the decoder's width (B, 1 + V, decoder_width), and the mask."""
        tokens = self.config.tokens
        hidden = tokens - visible_count(tokens, self.config.mask)
        mask = random_mask(len(pixels), tokens, hidden, pixels.device) if given is None else mask_from_bool(given)
        return self.decoder.embed(self.norm(self.encoder(pixels, mask.visible))), mask

    def rebuild(self, x: Tensor, mask: Mask) -> Tensor:
        """Tokens (B, 1 + V, decoder_width) → pixels of every patch (B, N, 3 · patch²)."""
        found = self.decoder(x, mask)
        return found[:, :1].expand(-1, mask.tokens, -1) if self.config.parity == "published" else found[:, 1:]

    def forward(self, batch: Batch) -> Outputs:
        """`pixels` (B, N, 3 · patch²), `hidden` (B, H), `student` (B, decoder_width), and the teacher's features."""
        require(batch, "image", *(["person"] if self.fusion is not None else []))
        x, mask = self.encode(batch["image"], batch.get("image_mask"))
        student = x[:, 0]
        if self.fusion is not None:
            student = self.fusion(student, self.encode(batch["person"], batch.get("person_mask"))[0][:, 0])
        outputs = {"pixels": self.rebuild(x, mask), "hidden": mask.hidden, "student": student}
        return outputs | self.taught(batch)

    @torch.no_grad()
    def taught(self, batch: Batch) -> Outputs:
        """CLIP's features of pictures and sentences, or those that the batch brings; none if no loss needs them."""
        names = ("teacher_image", "teacher_text")
        if self.teacher is None:
            if {"similarity", "profile"} & set(self.config.components):
                require(batch, *names)
            return {name: batch[name] for name in names if batch.get(name) is not None}
        require(batch, "text")
        pixels = batch["image"]
        if self.config.parity == "correct":
            (mean, std), (own, spread) = ([pixels.new_tensor(v).view(1, 3, 1, 1) for v in both]
                                          for both in (IMAGENET, CLIP_STATISTICS))  # fmt: skip
            pixels = (pixels * std + mean - own) / spread
        return dict(zip(names, (self.teacher.vision(pixels), self.teacher.text(batch["text"])), strict=True))

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """`mae`, `similarity` (to the picture's features) and `profile` (of similarities to all sentences)."""
        found, on = {}, self.config.components
        if "mae" in on:
            target = patch_target(batch["image"], self.config.patch, self.config.normalise, in_root=True, joint=True)
            found["mae"] = masked_mse(gather(outputs["pixels"], outputs["hidden"]), target, outputs["hidden"])
        if "similarity" in on:
            found["similarity"] = cosine_distance(outputs["student"], outputs["teacher_image"])
        if "profile" in on:
            names = ("student", "teacher_image", "teacher_text")
            found["profile"] = profile_distance(*(outputs[name] for name in names))
        return found

    def phases(self) -> list[Phase]:
        """200 epochs, 40 of them warm-up; the learning rate is 1e-3 · batch / 256. CLIP and positions are fixed."""
        on = set(self.config.components)
        frozen = [r"encoder\.pos_embed", r"decoder\.pos_embed", *([r"teacher\."] if self.teacher is not None else [])]
        idle = [] if "mae" in on else [r"decoder\.(blocks|norm|pred|mask_token)"]
        idle += [r"fusion\."] if self.fusion is not None and not on & {"similarity", "profile"} else []
        return [Phase("pretrain", epochs=200, lr=2.5e-4, batch_size=64, weight_decay=0.05, warmup=0.2, final_lr=0.0,
                      betas=(0.9, 0.95), freeze=(*frozen, *idle), clip=0.0)]  # fmt: skip

    @classmethod
    def from_published(cls, state: Mapping[str, Any], config: Config | None = None) -> Self:
        """The public pre-training file: `model` (also that of plain MAE), `att_fusion` where there is one, and, if
        added by hand, `clip` (weights of CLIP). What is not in it is switched off, unless a config says otherwise."""
        own = own_names(unwrap(state))
        own |= {f"fusion.{k}": v for k, v in unwrap(state.get("att_fusion") or {}).items()}
        system = cls(config or _sizes(own, "clip" in state))
        if system.teacher is not None:
            if "clip" not in state:
                raise ModelError("UniEmoX checkpoint", "holds no CLIP", "add its weights as `clip`, or teacher=None")
            load_exactly(system.teacher, published_names(state["clip"]), "CLIP checkpoint")
            own |= {f"teacher.{k}": v for k, v in system.teacher.state_dict().items()}
        load_strictly(system, own, "UniEmoX pre-training checkpoint")
        return system


class UniEmoX(_UniEmoX):
    """Fine-tuning and recognition."""

    stage = "finetune"
    overfit = (60, 3e-3, 0.6)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = ImageEncoder(config.image, config.patch, config.width, config.depth, config.heads,
                                    config.drop_path, learn_positions=True)  # fmt: skip
        self.fc_norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, len(config.labels))
        vit.initialise(self, "normal")
        nn.init.trunc_normal_(self.encoder.cls_token, std=0.02, a=-0.04, b=0.04)
        nn.init.trunc_normal_(self.head.weight, std=2e-5, a=-4e-5, b=4e-5)

    def inputs(self) -> dict[str, InputSpec]:
        return {"image": self.picture()}

    def forward(self, batch: Batch) -> Outputs:
        """`logits` (B, classes) from the mean of the patch tokens, `embedding` (B, width)."""
        require(batch, "image")
        embedding = self.fc_norm(self.encoder(batch["image"])[:, 1:].mean(1))
        return {"logits": self.head(embedding), "embedding": embedding}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        logits, smoothing = outputs["logits"].float(), self.config.smoothing
        return {"class": functional.cross_entropy(logits, batch["label"], label_smoothing=smoothing)}

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """`pictures` changes pixels, `mixup` and `cutmix` mix pictures and labels."""
        changed = dict(batch)
        if options.get("pictures"):
            changed["image"] = augment_clips(batch["image"][:, :, None], ImageAugment(), IMAGENET)[:, :, 0]
        if "label" in batch and (options.get("mixup") or options.get("cutmix")):
            soft = functional.one_hot(batch["label"], len(self.labels())).float()
            rates = float(options.get("mixup", 0)), float(options.get("cutmix", 0))
            mixed, changed["label"] = mix_batch({"image": changed["image"]}, soft, *rates, "image")
            changed |= mixed
        return changed

    def decode(self, outputs: Outputs) -> list[Prediction]:
        """Perspective of the labels learnt: CAER-S and HECO say what people in the picture express."""
        return [replace(one, perspective=space(self.space()).perspective) for one in super().decode(outputs)]

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The usual metrics, and the share of items whose label is among the three most likely (`top3`)."""
        found = super().measure(outputs, targets)
        if "label" in targets:
            best = np.argsort(-outputs["logits"], 1)[:, :3]
            found["top3"] = float((best == targets["label"][:, None]).any(1).mean())
        return found

    def phases(self) -> list[Phase]:
        """The learning rate is 1e-3 · batch / 256; the public code declares layer decay but does not apply it."""
        options = {"pictures": True, "mixup": 0.8, "cutmix": 1.0}
        return [Phase("finetune", epochs=100, lr=6.25e-5, batch_size=16, weight_decay=0.05, warmup=0.05,
                      final_lr=0.016, clip=0.0, options=options)]  # fmt: skip

    def initialise(self, state: Mapping[str, Tensor]) -> list[str]:
        """Weights of pre-training; positions of another picture size are interpolated."""
        name = "encoder.pos_embed"
        if name in state:
            state = {**state, name: resized_positions(state[name], self.config.tokens)}
        return super().initialise(state)

    @classmethod
    def from_published(cls, state: Mapping[str, Any], config: Config | None = None) -> Self:
        """A public fine-tuned checkpoint (its unused `norm` is left out); or a pre-trained one of UniEmoX or plain MAE,
        of which the encoder is taken and everything else left, under a fresh head.

        Without a config the labels follow from their number: eight are Mikels', seven CAER-S's, six Emotion6's.
        """
        own = own_names(unwrap(state))
        system = cls(config or _sizes(own, False))
        if "head.weight" in own:
            load_strictly(system, {k: v for k, v in own.items() if not k.startswith("norm.")}, "UniEmoX checkpoint")
            return system
        inner = {k.removeprefix("encoder."): v for k, v in own.items() if k.startswith("encoder.")}
        load_strictly(system.encoder, inner, "MAE checkpoint")
        return system


class _Described:
    """Pictures of EmoSet with sentences made of their attributes."""

    def __init__(self, corpus: Corpus, specs: Mapping[str, InputSpec], sentiment: bool) -> None:
        self.corpus, self.specs, self.sentiment = corpus, specs, sentiment
        if "label:mikels8" not in corpus.table.column_names:
            raise ConfigError(corpus.name, "has no emotions and attributes to describe", "pre-train on emoset")

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.corpus.row(index)
        known = {name.removeprefix("meta:"): value for name, value in row.items() if name.startswith("meta:")}
        raw = {"image": self.corpus.image(index), "text": describe(known, row["label:mikels8"], self.sentiment)}
        return {"id": row["id"], **{name: spec(raw[spec.source]) for name, spec in self.specs.items()}}


#: Drawings that stand for labels without one.
_DRAWN = {"amusement": "happiness", "contentment": "neutral", "awe": "surprise"}
_FUSIONS: dict[str, FusionKind] = {"fusion.bn.weight": "sum", "fusion.alpha": "weighted", "fusion.gate.weight": "gated",
                                   "fusion.scale": "modulated", "fusion.W_a.0.weight": "attention"}  # fmt: skip


def _sizes(own: Mapping[str, Tensor], clip: bool) -> Config:
    """The published configuration of the width found, with what the checkpoint holds switched on."""
    kernel, head = own.get("encoder.patch_embed.proj.weight"), own.get("head.weight")
    known = {c.width: c for c in (Config.base(), Config.large(), Config.huge())}
    if kernel is None or len(kernel) not in known or "encoder.pos_embed" not in own:
        raise ModelError("UniEmoX checkpoint", "holds no image encoder of a published size", "give a config")
    found = known[len(kernel)]
    image = round((own["encoder.pos_embed"].shape[1] - 1) ** 0.5) * kernel.shape[-1]
    found = replace(found, image=image, teacher=found.teacher if clip else None)
    if head is not None:
        name = {8: "", 7: "caers7", 6: "emotion6"}.get(len(head))
        if name is None:
            raise ModelError("UniEmoX checkpoint", f"gives {len(head)} classes", "give a config that names them")
        return replace(found, space=name, labels=space(name).labels) if name else found
    kind = next((kind for key, kind in _FUSIONS.items() if key in own), None)
    parts = tuple(part for part in found.components if part != "fusion" or kind)
    return replace(found, components=parts, fusion=kind or "sum")


STAGES: dict[str, type[System]] = {"pretrain": UniEmoXPretraining, "finetune": UniEmoX}

"""VAEmo: one transformer for face video and voice, pre-trained by masking and contrast, then taught by descriptions.

    video (B, 3, 16, 160, 160) ── tubelets ─► 800 tokens ┐ + fixed positions + modality vector
    audio (B, [1,] 256, 128) ──── patches ──► 128 tokens ┘
    the same blocks run three times:  V pass → v (B, d) · A pass → a (B, d) · VA pass, tokens joined → va (B, d)
    pretrain:  VA pass on visible tokens → two light decoders → hidden cubes and patches;  v ↔ a contrast
    align:     v, a, va → heads → (B, 256), against a frozen text encoder's vectors of LLM-written descriptions:
               joint path va ↔ t, unimodal path v ↔ t and a ↔ t; a tenth of the pre-training loss against forgetting
    finetune:  [mean video tokens | mean audio tokens] of the VA pass (B, 2d) → LN → logits

Only the abstract of the paper is public, and no code. The three stages, the unified light network, the masked and
contrastive objectives and the dual-path contrast are from it; sizes, schedules, losses in detail and the reading of
"dual path" are a reconstruction after HiCMAE, whose clip pipeline the same group uses. No parity is claimed.

Own choices: normalisation layers per modality inside shared blocks; each decoder also reads the other modality's
visible tokens, so that a wholly hidden modality (15 % of batches) can be rebuilt from the other one; a missing modality
leaves zeros in its half of the fine-tuning feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from affectus.corpora import Corpus
from affectus.corpora.synthetic import sentence, talking_face
from affectus.errors import ConfigError
from affectus.features.inputs import InputSpec
from affectus.lm.descriptions import read_descriptions
from affectus.nn import vit
from affectus.nn.audio_visual import ENDS, KINDS, Decoder, TalkingClip, UnifiedEncoder
from affectus.nn.augment import ImageAugment
from affectus.nn.clip_augment import CROP, augment_talk, mix_batch
from affectus.nn.losses.contrastive import gather_processes, info_nce, similarities, soft_info_nce
from affectus.nn.losses.reconstruction import masked_mse
from affectus.nn.masking import Mask, random_mask
from affectus.nn.phase import Phase
from affectus.nn.text import SentenceEncoder
from affectus.systems.base import Batch, Outputs, System, batch_of, require
from affectus.systems.card import Published, SystemCard

CARD = SystemCard(
    name="vaemo",
    title="VAEmo: efficient representation learning for visual-audio emotion with knowledge injection",
    year=2025,
    paper="arXiv 2505.02331; ACM MM 2025, doi 10.1145/3746027.3754924",
    code="github.com/MSA-LMC/VAEmo (no code so far)",
    summary="One light transformer for face video and voice: masked and contrastive pre-training, then contrast with "
    "emotion descriptions written by a multimodal language model, then fine-tuning without any text.",
    modalities=("video", "audio", "description"),
    perspective="expressed",
    task="expression class of a clip from face and voice",
    space="cremad6",
    labels=("anger", "disgust", "fear", "happiness", "neutral", "sadness"),
    licence={
        "code": "MIT file in a repository without code",
        "weights": "none published",
        "data": "speaker-centric corpora and benchmarks: research use",
    },
    weights="none published; HiCMAE and S4D encoder weights can be taken over as a start (initialise)",
    published=(
        Published("crema_d", "accuracy", 0.8489, "HiCMAE-B, the reference point; no number of VAEmo was readable",
                  "arXiv 2401.05698"),
        Published("mafw", "accuracy", 0.5617, "HiCMAE-B, the reference point; no number of VAEmo was readable",
                  "arXiv 2401.05698"),
    ),
    stages=("pretrain", "align", "finetune"),
    missing="handled",
    deviations=("a reconstruction from the abstract: sizes, schedules and losses follow HiCMAE",),
    limits=("No published numbers to compare with; descriptions by language models hallucinate cues.",),
)  # fmt: skip


@dataclass(frozen=True)
class Config(TalkingClip):
    """Sizes and settings beside the geometry of a clip.

    `text` is a source of `affectus.nn.text`. `paths` are those of the alignment; `duplicates` says what happens to
    equal descriptions in a batch: taken out of the negatives, or soft targets by the likeness of texts for all.
    `forgetting` weighs the pre-training loss during alignment; `align_mask` hides that share of all tokens there, for
    speed.
    """

    width: int = 512
    depth: int = 12
    heads: int = 8
    decoder_width: int = 384
    decoder_depth: int = 4
    decoder_heads: int = 6
    norm_per_modality: bool = True
    temperature: float = 0.07
    contrast: float = 0.0025
    hide_modality: float = 0.15
    projection: int = 256
    text: str = "minilm-l6"
    text_length: int = 128
    paths: tuple[str, ...] = ("joint", "unimodal")
    duplicates: Literal["masked", "soft"] = "masked"
    forgetting: float = 0.1
    align_mask: float = 0.0
    drop_path: float = 0.1
    space: str = "cremad6"
    labels: tuple[str, ...] = CARD.labels

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(self.modalities) != set(KINDS):
            raise ValueError("modalities: one network takes both; leave one out of a batch instead")
        if not self.paths or set(self.paths) - {"joint", "unimodal"}:
            raise ValueError(f"paths {self.paths}: joint, unimodal or both are known")

    @classmethod
    def small(cls) -> Config:
        """Width 384."""
        return cls(width=384, heads=6, decoder_width=192, decoder_heads=3)

    @classmethod
    def tiny(cls) -> Config:
        """For tests: 32 video and 32 audio tokens, frozen random n-grams as text encoder."""
        return cls(width=32, heads=2, depth=2, decoder_width=16, decoder_heads=2, decoder_depth=1, size=32, frames=4,
                   stride=1, patch=8, audio_frames=64, mels=32, audio_patch=8, projection=16, drop_path=0.0,
                   text="ngrams:1,width=16,buckets=1024,length=32,unit=word", hide_modality=0.0)  # fmt: skip


_Config = Config  # the classes below have an attribute of that name


class _VAEmo(System):
    """What the stages share: inputs, examples, depth of parameters."""

    card = CARD
    Config = Config
    config: _Config
    encoder: UnifiedEncoder

    def inputs(self) -> dict[str, InputSpec]:
        return self.config.inputs()

    def example(self, count: int, seed: int = 0) -> Batch:
        random, c = np.random.default_rng(seed), self.config
        classes = np.arange(count) % len(self.labels())
        seconds = 0.01 * c.audio_frames + 0.015
        names = [self.labels()[k] for k in classes]
        raws = [talking_face(name, random, c.frames, max(48, c.size), seconds) for name in names]
        raws = [raw | {"text": sentence(name, random)} for raw, name in zip(raws, names, strict=True)]
        return batch_of(raws, self.inputs()) | {"label": torch.from_numpy(classes)}

    def given(self, batch: Batch) -> dict[str, Tensor]:
        """The modalities that a batch holds, in the shape of their encoder; raises ConfigError when there are none."""
        found = {kind: self.config.shaped(batch, kind) for kind in KINDS if batch.get(kind) is not None}
        if not found:
            require(batch, "video")
        return found

    def depth(self, name: str) -> int:
        """Everything after the encoder 0, the last block 1 … embeddings and modality vectors depth + 1."""
        parts = name.split(".")
        if parts[0] != "encoder" or parts[1].startswith("norm"):
            return 0
        return self.config.depth - int(parts[2]) if parts[1] == "blocks" else self.config.depth + 1

    def initialise(self, state: Mapping[str, Tensor]) -> list[str]:
        """Take over an earlier stage, or the encoders of HiCMAE (blocks from its video encoder, norms per modality) or
        S4D, as far as names and shapes fit."""
        moved = dict(state)
        for key, value in state.items():
            name = key.removeprefix("encoder_audio.")
            if name != key and name.split(".")[0] in ("patch_embed", "norm"):
                first, _, rest = name.partition(".")
                moved[f"encoder.{first}_audio.{rest}"] = value
            elif name != key and ".norm" in name:
                block, _, rest = name.rpartition(".")
                moved[f"encoder.{block}_audio.{rest}"] = value
        return super().initialise(moved)


class VAEmoPretraining(_VAEmo):
    """Stage 1. Masks (B, tokens; True where hidden) may be given as `video_mask` and `audio_mask`."""

    stage = "pretrain"
    select = "-loss"
    overfit = (80, 3e-3, 0.95)  # masks are drawn anew and the pictures are noisy: little can be learnt by heart
    bulky: ClassVar[tuple[str, ...]] = ("video_rebuilt", "audio_rebuilt", "video_hidden", "audio_hidden")

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        self.encoder = UnifiedEncoder(c, c.width, c.heads, c.depth, per_modality=c.norm_per_modality)
        for kind in KINDS:
            end = ENDS[kind]
            self.add_module("decoder" + end, Decoder(c.decoder_width, c.decoder_heads, c.values(kind), c.decoder_depth))
            table = vit.sinusoid_table(c.tokens(kind), c.decoder_width)
            self.add_module("decoder_positions" + end, vit.Positions(table))
            self.add_module("encoder_to_decoder" + end, nn.Linear(c.width, c.decoder_width, bias=False))
            self.register_parameter("mask_token" + end, nn.Parameter(torch.zeros(1, 1, c.decoder_width)))
        vit.initialise(self)
        for end in ENDS.values():
            nn.init.trunc_normal_(self.get_parameter("mask_token" + end), std=0.02)

    def forward(self, batch: Batch) -> Outputs:
        """`…_rebuilt` (B, hidden, values), `…_hidden` (B, hidden), and `video_mean`, `audio_mean` (B, width), the v
        and a of passes over one modality's visible tokens."""
        parts, c = self.given(batch), self.config
        masks = {kind: c.mask(kind, x, batch.get(f"{kind}_mask")) for kind, x in parts.items()}
        outputs: Outputs = {}
        if len(parts) > 1:
            for kind in parts:
                outputs[f"{kind}_mean"] = self.encoder({kind: parts[kind]}, masks)[kind].mean(1)
        whole = self._wholly_hidden(parts)
        seen = self.encoder({kind: x for kind, x in parts.items() if kind != whole}, masks)
        if whole:
            everything = torch.arange(c.tokens(whole), device=parts[whole].device).expand(len(parts[whole]), -1)
            masks[whole] = Mask(everything[:, :0], everything)
        for kind in parts:
            outputs[f"{kind}_rebuilt"] = self.rebuild(kind, seen, masks)
            outputs[f"{kind}_hidden"] = masks[kind].hidden
        return outputs

    def rebuild(self, kind: str, seen: Mapping[str, Tensor], masks: Mapping[str, Mask]) -> Tensor:
        """Hidden patches (B, hidden, values) of one modality from the visible tokens of both."""
        context = []
        for other, tokens in seen.items():
            project, places = (
                getattr(self, name + ENDS[other]) for name in ("encoder_to_decoder", "decoder_positions")
            )
            context.append(project(tokens) + places(masks[other].visible))
        token, places, decoder = (
            getattr(self, name + ENDS[kind]) for name in ("mask_token", "decoder_positions", "decoder")
        )
        hidden = masks[kind].hidden
        return decoder(torch.cat([*context, token + places(hidden)], 1), hidden.shape[1])

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Squared error per modality over hidden patches, and λ times the contrast of v and a over all processes."""
        c, found = self.config, {}
        for kind, x in self.given(batch).items():
            found[kind] = masked_mse(outputs[f"{kind}_rebuilt"], c.target(kind, x), outputs[f"{kind}_hidden"])
        if len(found) > 1:
            v, a = (gather_processes(outputs[f"{kind}_mean"]) for kind in KINDS)
            found["contrast"] = c.contrast * info_nce(v, a, c.temperature)
        return found

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        return augment_talk(batch, CROP if options.get("crop") else None, options, self.inputs())

    def phases(self) -> list[Phase]:
        """As HiCMAE: 100 epochs of speaker-centric clips, lr 3e-4 · batch / 256, 5 epochs of warm-up."""
        return [Phase("pretrain", epochs=100, lr=1.875e-4, batch_size=160, warmup=0.05, final_lr=1 / 30,
                      betas=(0.9, 0.95), clip=0.0, options={"crop": True, "gain": True})]  # fmt: skip

    def _wholly_hidden(self, parts: Mapping[str, Tensor]) -> str:
        """In training, now and then, the modality that the joint pass must do without; "" otherwise."""
        if not self.training or len(parts) < 2 or float(torch.rand(())) >= self.config.hide_modality:
            return ""
        return KINDS[int(torch.randint(len(KINDS), ()))]


class VAEmoAlignment(VAEmoPretraining):
    """Stage 2: contrast with descriptions. `described` (B,) is 0 for clips without one; without it all have one."""

    stage = "align"
    overfit = (60, 3e-3, 0.6)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        self.text = SentenceEncoder(c.text, length=c.text_length).requires_grad_(False)
        names = (["joint"] if "joint" in c.paths else []) + (list(KINDS) if "unimodal" in c.paths else [])
        self.heads = nn.ModuleDict({
            name: nn.Sequential(nn.Linear(c.width, c.width), nn.GELU(), nn.Linear(c.width, c.projection))
            for name in names
        })  # fmt: skip
        self.text_head = nn.Linear(self.text.width, c.projection)
        vit.initialise(self.heads)

    def inputs(self) -> dict[str, InputSpec]:
        return {**self.config.inputs(), "description": self.text.spec()}

    def inputs_for(self, corpus: Corpus) -> dict[str, InputSpec]:
        """Descriptions come as targets, from a column or a store."""
        return self.config.inputs()

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """`description`, `described` from a text column (`meta:reason`) or from a store (`file:PATH`) by item id."""
        if column.startswith("file:"):
            store = read_descriptions(Path(column.removeprefix("file:")))
            texts = [store[key].description if key in store else "" for key in map(str, corpus.column("id"))]
        else:
            texts = [text or "" for text in corpus.column(column)]
        spec = self.text.spec()
        described = np.array([bool(text.strip()) for text in texts])
        if not described.any():
            raise ConfigError(column, "describes none of the clips")
        return {"description": np.stack([spec(text) for text in texts]), "described": described.astype(np.int64)}

    def forward(self, batch: Batch) -> Outputs:
        """Projected vectors (B, projection): `joint_text`, `video_text`, `audio_text` where the clip has them and the
        paths are on, `text` of the descriptions; and the outputs of stage 1 where `forgetting` is on."""
        parts, c = self.given(batch), self.config
        outputs: Outputs = super().forward(batch) if c.forgetting > 0 else {}
        masks = None
        if c.align_mask > 0:
            masks = {kind: random_mask(len(x), c.tokens(kind), int(c.align_mask * c.tokens(kind)), x.device)
                     for kind, x in parts.items()}  # fmt: skip
        if "joint" in c.paths:
            means = [tokens.mean(1) for tokens in self.encoder(parts, masks).values()]
            outputs["joint_text"] = self.heads["joint"](torch.stack(means).mean(0))
        if "unimodal" in c.paths:
            for kind in parts:
                outputs[f"{kind}_text"] = self.heads[kind](self.encoder({kind: parts[kind]}, masks)[kind].mean(1))
        if batch.get("description") is not None:
            with torch.no_grad():
                vectors = functional.normalize(self.text(batch["description"]).float(), dim=-1)
            outputs["text"] = self.text_head(vectors)
        return outputs

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """`joint`, `unimodal` (mean of its directions), and what is left of stage 1, weighted."""
        require(batch, "description")
        c, found = self.config, {}
        if c.forgetting > 0:
            found = {k: c.forgetting * v for k, v in super().losses(batch, outputs, options).items()}
        rows = batch["described"] > 0 if "described" in batch else torch.ones(len(batch["description"])) > 0
        ids, text = batch["description"][rows], outputs["text"][rows]
        if len(ids) and "joint" in c.paths:
            found["joint"] = self.match(outputs["joint_text"][rows], text, ids)
        kinds = [kind for kind in KINDS if f"{kind}_text" in outputs]
        if len(ids) and kinds:
            found["unimodal"] = torch.stack([self.match(outputs[f"{k}_text"][rows], text, ids) for k in kinds]).mean()
        return found or {"joint": outputs["text"].sum() * 0}

    def match(self, clips: Tensor, text: Tensor, ids: Tensor) -> Tensor:
        """Contrast of clips (B, projection) with texts, where equal descriptions `ids` (B, length) are no negatives."""
        if self.config.duplicates == "soft":
            return soft_info_nce(clips, text, similarities(text.detach(), text.detach(), 0.1).softmax(1),
                                 self.config.temperature)  # fmt: skip
        same = (ids[:, None] == ids[None]).all(-1)
        return info_nce(clips, text, self.config.temperature, same)

    def phases(self) -> list[Phase]:
        """20 epochs of described clips, lr 5e-5 · batch / 256, layer decay 0.75, the text encoder frozen."""
        return [Phase("align", epochs=20, lr=5e-5, batch_size=256, freeze=(r"text\.",), layer_decay=0.75, clip=0.0,
                      options={"gain": True})]  # fmt: skip


class VAEmo(_VAEmo):
    """Stage 3: fine-tuning and recognition, without text."""

    stage = "finetune"

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c = config
        self.encoder = UnifiedEncoder(c, c.width, c.heads, c.depth, c.drop_path, c.norm_per_modality)
        self.fc_norm = nn.LayerNorm(2 * config.width, eps=1e-6)
        self.head = nn.Linear(2 * config.width, len(config.labels))

    def forward(self, batch: Batch) -> Outputs:
        """`logits` (B, classes) and `embedding` (B, 2 · width); a missing modality leaves zeros in its half."""
        found = self.encoder(self.given(batch))
        first = next(iter(found.values()))
        means = [found[kind].mean(1) if kind in found else torch.zeros_like(first[:, 0]) for kind in KINDS]
        embedding = self.fc_norm(torch.cat(means, -1))
        return {"logits": self.head(embedding), "embedding": embedding}

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """Pictures, loudness, mixup or cutmix of video; with chance `drop` one modality of the batch is left out."""
        batch = augment_talk(batch, ImageAugment() if options.get("pictures") else None, options, self.inputs())
        mixup, cutmix = float(options.get("mixup", 0)), float(options.get("cutmix", 0))
        if mixup + cutmix > 0:
            soft = functional.one_hot(batch["label"], len(self.labels())).float()
            mixed, soft = mix_batch({"video": batch["video"]}, soft, mixup, cutmix, "video")
            batch |= {**mixed, "soft": soft}
        if float(torch.rand(())) < float(options.get("drop", 0)):
            batch[KINDS[int(torch.randint(len(KINDS), ()))]] = None
        return batch

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """Cross-entropy towards labels, soft ones after mixing; `smoothing` as told."""
        target = batch["soft"] if "soft" in batch else batch["label"]
        smoothing = float((options or {}).get("smoothing", 0.0))
        return {"class": functional.cross_entropy(outputs["logits"].float(), target, label_smoothing=smoothing)}

    def phases(self) -> list[Phase]:
        """50 epochs, lr 1e-3 · batch / 256, layer decay 0.75, as HiCMAE on CREMA-D."""
        options = {"pictures": True, "gain": True, "mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1}
        return [Phase("finetune", epochs=50, lr=2.1875e-4, batch_size=56, warmup=0.1, final_lr=1e-3,
                      layer_decay=0.75, clip=0.0, options=options)]  # fmt: skip


STAGES: dict[str, type[System]] = {"pretrain": VAEmoPretraining, "align": VAEmoAlignment, "finetune": VAEmo}

"""Clips of a talking face as tokens: their geometry, encoders of one modality, fusion, and decoders with skips.

Names of parameters are those of the public HiCMAE code (Sun et al., arXiv 2401.05698), which builds on VideoMAE and
AudioMAE. All blocks have split query and value biases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError
from affectus.features.inputs import IMAGENET, ClipInput, FbankInput, ImageInput, InputSpec
from affectus.nn import vit
from affectus.nn.losses.reconstruction import patch_target, video_target
from affectus.nn.masking import Mask, hidden_count, mask_from_bool, random_mask, tube_mask

#: Modalities of a talking face, in the order in which tokens are joined.
KINDS = ("video", "audio")
#: What published names of their parts end in.
ENDS = {"video": "", "audio": "_audio"}


@dataclass(frozen=True)
class TalkingClip:
    """Geometry of a clip and its sound; configs of audio-visual systems extend it. The defaults are those of HiCMAE.

    Video (B, 3, frames, size, size) gives `frames / tubelet` slots of `(size / patch)²` tokens; audio, a filter bank
    (B, [1,] audio_frames, mels), gives time-major patches. `difference` is the group size of frame-difference targets
    (0: pixels as they are).
    """

    modalities: tuple[str, ...] = KINDS
    size: int = 160
    frames: int = 16
    stride: int = 4
    tubelet: int = 2
    patch: int = 16
    audio_frames: int = 256
    mels: int = 128
    audio_patch: int = 16
    video_mask: float = 0.9
    audio_mask: float = 0.8
    difference: int = 2

    def __post_init__(self) -> None:
        if not self.modalities or set(self.modalities) - set(KINDS):
            raise ValueError(f"modalities {self.modalities}: video, audio or both are known")

    @property
    def places(self) -> int:
        """Video tokens of one time slot."""
        return (self.size // self.patch) ** 2

    def tokens(self, kind: str) -> int:
        """Tokens of one modality."""
        if kind == "video":
            return self.frames // self.tubelet * self.places
        return (self.audio_frames // self.audio_patch) * (self.mels // self.audio_patch)

    def values(self, kind: str) -> int:
        """Numbers in one token's patch."""
        return 3 * self.tubelet * self.patch**2 if kind == "video" else self.audio_patch**2

    def inputs(self) -> dict[str, InputSpec]:
        """Preprocessing by modality: middle of the clip, aligned faces, Kaldi filter banks with AudioSet statistics."""
        known: dict[str, InputSpec] = {
            "video": ClipInput(self.frames, self.stride, picture=ImageInput(self.size, of="face")),
            "audio": FbankInput(self.audio_frames, self.mels, crop="middle"),
        }
        return {kind: known[kind] for kind in self.modalities}

    def shaped(self, batch: Mapping[str, Any], kind: str) -> Tensor:
        """Video (B, 3, T, S, S) or audio (B, 1, time, mel) as its encoder takes it; raises ConfigError."""
        x = batch[kind]
        x = x[:, None] if kind == "audio" and x.ndim == 3 else x
        clip = (3, self.frames, self.size, self.size)
        wanted = clip if kind == "video" else (1, self.audio_frames, self.mels)
        if tuple(x.shape[1:]) != wanted:
            raise ConfigError(kind, f"has shape {tuple(x.shape)}", f"(items, {', '.join(map(str, wanted))}) is needed")
        return x

    def embedding(self, kind: str, width: int) -> nn.Module:
        """A fresh patch embedding of one modality."""
        if kind == "video":
            return vit.TubeletEmbedding(width, self.patch, self.tubelet)
        return vit.PatchEmbedding(width, self.audio_patch, channels=1)

    def mask(self, kind: str, x: Tensor, given: Tensor | None = None) -> Mask:
        """The given mask (B, tokens; True where hidden), or a fresh one: tubes for video, anywhere for audio."""
        if given is not None:
            return mask_from_bool(given)
        if kind == "video":
            slots = self.frames // self.tubelet
            return tube_mask(len(x), slots, self.places, hidden_count(self.places, self.video_mask), x.device)
        return random_mask(len(x), self.tokens(kind), hidden_count(self.tokens(kind), self.audio_mask), x.device)

    def target(self, kind: str, x: Tensor) -> Tensor:
        """What a decoder rebuilds, (B, tokens, values): normalised cubes (as frame differences) or mel patches."""
        if kind == "video":
            return video_target(x, IMAGENET, self.tubelet, self.patch, difference=self.difference)
        return patch_target(x, self.audio_patch)


class Encoder(nn.Module):
    """Embedding of one modality, fixed positions, plain blocks, and one final norm that every tapped layer shares."""

    def __init__(
        self, embedding: nn.Module, tokens: int, width: int, heads: int, depth: int, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.patch_embed = embedding
        self.positions = vit.Positions(vit.sinusoid_table(tokens, width))
        rates = vit.drop_path_rates(drop_path, depth)
        self.blocks = nn.ModuleList(vit.Block(width, heads, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor, layers: tuple[int, ...], visible: Tensor | None = None) -> list[Tensor]:
        """Normalised tokens (B, N or visible, width) after each of `layers`, which ascend from 0.

        With `visible` (B, K) only those tokens are embedded and encoded.
        """
        x = self.patch_embed(x, visible) + self.positions(visible)
        found = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in layers:
                found.append(self.norm(x))
        return found


class Fusion(nn.Module):
    """Two streams of cross+self blocks; each reads what the other was before the step."""

    def __init__(self, width: int, heads: int, depth: int, drop_path: float = 0.0) -> None:
        super().__init__()
        rates = vit.drop_path_rates(drop_path, depth)
        self.blocks = nn.ModuleList(vit.CrossSelfBlock(width, width, heads, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.blocks_audio = nn.ModuleList(vit.CrossSelfBlock(width, width, heads, drop_path=rate) for rate in rates)
        self.norm_audio = nn.LayerNorm(width, eps=1e-6)

    def forward(self, video: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, width), (B, M, width) → same."""
        for block, block_audio in zip(self.blocks, self.blocks_audio, strict=True):
            video, audio = block(video, audio), block_audio(audio, video)
        return self.norm(video), self.norm_audio(audio)


class Decoder(nn.Module):
    """Plain blocks, or one plain block and then `skips` cross+self blocks that read encoder taps, deepest first.

    It predicts `outputs` values for every hidden token.
    """

    def __init__(self, width: int, heads: int, outputs: int, plain: int = 1, skips: int = 0) -> None:
        super().__init__()
        self.plain = plain
        self.blocks = nn.ModuleList(vit.Block(width, heads) for _ in range(plain))
        self.blocks.extend(vit.CrossSelfBlock(width, width, heads) for _ in range(skips))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor, hidden: int, taps: list[Tensor] | None = None) -> Tensor:
        """x (B, N, width) with the `hidden` tokens last, taps (B, V, width) shallow to deep → (B, hidden, outputs)."""
        blocks = list(self.blocks)
        for block in blocks[: self.plain]:
            x = block(x)
        for block, tap in zip(blocks[self.plain :], reversed(taps or []), strict=True):
            x = block(x, tap)
        return self.head(self.norm(x[:, -hidden:]))


class SharedBlock(vit.Block):
    """A transformer block for joined tokens whose two norms exist per modality; attention and MLP are shared."""

    def __init__(self, width: int, heads: int, drop_path: float, per_modality: bool) -> None:
        super().__init__(width, heads, drop_path=drop_path)
        self.norm1_audio, self.norm2_audio = (nn.LayerNorm(width, eps=1e-6) if per_modality else None for _ in range(2))

    def forward(self, x: Tensor, video: int) -> Tensor:  # type: ignore[override]
        """(B, N, width) → same; the first `video` tokens are those of the video."""
        x = x + self.drop_path(self.attn(by_modality(x, video, self.norm1, self.norm1_audio)))
        return x + self.drop_path(self.mlp(by_modality(x, video, self.norm2, self.norm2_audio)))


class UnifiedEncoder(nn.Module):
    """One set of blocks for video tokens, audio tokens, or both joined."""

    def __init__(
        self,
        clip: TalkingClip,
        width: int,
        heads: int,
        depth: int,
        drop_path: float = 0.0,
        per_modality: bool = True,
    ) -> None:
        super().__init__()
        self.modality = nn.Parameter(torch.empty(len(KINDS), width))
        self.patch_embed, self.patch_embed_audio = (clip.embedding(kind, width) for kind in KINDS)
        self.positions, self.positions_audio = (
            vit.Positions(vit.sinusoid_table(clip.tokens(kind), width)) for kind in KINDS
        )
        rates = vit.drop_path_rates(drop_path, depth)
        self.blocks = nn.ModuleList(SharedBlock(width, heads, rate, per_modality) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.norm_audio = nn.LayerNorm(width, eps=1e-6) if per_modality else None
        vit.initialise(self)
        nn.init.trunc_normal_(self.modality, std=0.02)

    def forward(self, parts: Mapping[str, Tensor], masks: Mapping[str, Mask] | None = None) -> dict[str, Tensor]:
        """Inputs by modality (either or both) → normalised tokens by modality (B, N or visible, width)."""
        tokens = []
        for row, kind in enumerate(KINDS):
            if kind in parts:
                seen = None if masks is None else masks[kind].visible
                embed, positions = (getattr(self, name + ENDS[kind]) for name in ("patch_embed", "positions"))
                tokens.append(embed(parts[kind], seen) + positions(seen) + self.modality[row])
        x, video = torch.cat(tokens, 1), tokens[0].shape[1] if "video" in parts else 0
        for block in self.blocks:
            x = block(x, video)
        x = by_modality(x, video, self.norm, self.norm_audio)
        split = {"video": x[:, :video], "audio": x[:, video:]}
        return {kind: split[kind] for kind in KINDS if kind in parts}


def by_modality(x: Tensor, video: int, norm: nn.Module, norm_audio: nn.Module | None) -> Tensor:
    """Joined tokens (B, N, width) normalised by one module, or the first `video` by one and the rest by the other."""
    if norm_audio is None or video == x.shape[1]:
        return norm(x)
    return torch.cat([norm(x[:, :video]), norm_audio(x[:, video:])], 1) if video else norm_audio(x)

"""CLIP towers (Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021).

The transformers themselves are those of the `transformers` package; here they get the sizes of the public checkpoints,
OpenAI's QuickGELU, and one naming scheme into which both public key layouts (OpenAI's and transformers') are mapped.
Features are returned before any L2 normalisation. Nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from affectus.errors import ModelError


@dataclass(frozen=True)
class ClipSizes:
    """Sizes of both towers; the defaults are ViT-B/32. `projection` is the width of the shared space."""

    image: int = 224
    patch: int = 32
    width: int = 768
    layers: int = 12
    heads: int = 12
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    context: int = 77
    vocabulary: int = 49408
    projection: int = 512
    activation: str = "quick_gelu"

    @classmethod
    def base32(cls) -> ClipSizes:
        """ViT-B/32."""
        return cls()

    @classmethod
    def base16(cls) -> ClipSizes:
        """ViT-B/16."""
        return cls(patch=16)

    @classmethod
    def large14(cls) -> ClipSizes:
        """ViT-L/14."""
        return cls(patch=14, width=1024, layers=24, heads=16, text_width=768, text_heads=12, projection=768)

    @classmethod
    def tiny(cls) -> ClipSizes:
        """A few ten thousand parameters, for tests; the vocabulary is that of `ClipTokenizer.of_bytes`."""
        return cls(image=32, patch=16, width=32, layers=2, heads=2, text_width=32, text_layers=2, text_heads=2,
                   context=32, vocabulary=514, projection=24)  # fmt: skip


class ClipVision(nn.Module):
    """Image tower with its projection."""

    def __init__(self, sizes: ClipSizes) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModel

        super().__init__()
        self.sizes = sizes
        config = CLIPVisionConfig(
            hidden_size=sizes.width, intermediate_size=4 * sizes.width, num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads, image_size=sizes.image, patch_size=sizes.patch,
            projection_dim=sizes.projection, hidden_act=sizes.activation,
        )  # fmt: skip
        self.vision_model: Any = _bare(CLIPVisionModel(config), "vision_model")
        self.visual_projection = nn.Linear(sizes.width, sizes.projection, bias=False)
        nn.init.normal_(self.visual_projection.weight, std=sizes.width**-0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        """Image features: (B, 3, image, image) → (B, projection)."""
        return self.visual_projection(self.pooled(pixels))

    def pooled(self, pixels: Tensor) -> Tensor:
        """Class token after the last normalisation, before the projection: (B, width)."""
        return self.vision_model(pixel_values=pixels).pooler_output

    def tokens(self, pixels: Tensor, layer: int = -1) -> Tensor:
        """All tokens after a layer (-1 the last, -2 the one before …), not normalised: (B, 1 + patches, width)."""
        return self.vision_model(pixel_values=pixels, output_hidden_states=True).hidden_states[layer]


class ClipText(nn.Module):
    """Text tower with its projection; also takes token embeddings, so that prompts can be learnt."""

    def __init__(self, sizes: ClipSizes) -> None:
        from transformers import CLIPTextConfig, CLIPTextModel

        super().__init__()
        self.sizes = sizes
        end = sizes.vocabulary - 1
        config = CLIPTextConfig(
            vocab_size=sizes.vocabulary, hidden_size=sizes.text_width, intermediate_size=4 * sizes.text_width,
            num_hidden_layers=sizes.text_layers, num_attention_heads=sizes.text_heads, projection_dim=sizes.projection,
            max_position_embeddings=sizes.context, hidden_act=sizes.activation, pad_token_id=0, bos_token_id=end - 1,
            eos_token_id=end,
        )  # fmt: skip
        self.text_model: Any = _bare(CLIPTextModel(config), "text_model")
        self.text_projection = nn.Linear(sizes.text_width, sizes.projection, bias=False)
        nn.init.normal_(self.text_projection.weight, std=sizes.text_width**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Text features: token ids (B, length ≤ context) → (B, projection), read at the highest id, which is the end
        token."""
        return self.encode(self.embed(ids), ids.argmax(-1))

    def embed(self, ids: Tensor) -> Tensor:
        """Token embeddings without positions: (B, length) → (B, length, text_width)."""
        return self.text_model.embeddings.token_embedding(ids)

    def encode(self, embeddings: Tensor, read_out: Tensor) -> Tensor:
        """Text features (B, projection) of embeddings (B, length, text_width), read at `read_out` (B,)."""
        length = embeddings.shape[1]
        hidden = self.text_model.embeddings(inputs_embeds=embeddings)
        future = torch.full((length, length), float("-inf"), dtype=hidden.dtype, device=hidden.device).triu(1)
        hidden = self.text_model.encoder(inputs_embeds=hidden, attention_mask=future[None, None]).last_hidden_state
        hidden = self.text_model.final_layer_norm(hidden)
        return self.text_projection(hidden[torch.arange(len(hidden), device=hidden.device), read_out])


class Clip(nn.Module):
    """Both towers and the logarithm of the inverse temperature."""

    def __init__(self, sizes: ClipSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.vision, self.text = ClipVision(sizes), ClipText(sizes)
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))

    def forward(self, pixels: Tensor, ids: Tensor) -> Tensor:
        """Scaled cosines of images and texts: (B, 3, image, image), (T, length) → (B, T)."""
        image = nn.functional.normalize(self.vision(pixels), dim=-1)
        text = nn.functional.normalize(self.text(ids), dim=-1)
        return self.logit_scale.exp() * image @ text.T

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> Self:
        """Towers of a public CLIP checkpoint in either layout, with the sizes it has; raises ModelError."""
        named = published_names(state)
        model = cls(published_sizes(named))
        load_exactly(model, named, "CLIP checkpoint")
        return model


def published_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of `Clip`, from OpenAI's or transformers' layout, in float32.

    A checkpoint of one tower gives the names of that tower. Keys that belong to neither layout stay as they are, so
    that strict loading names them. Position counters and the three sizes stored in OpenAI's archives are left out.
    """
    openai = any(k.startswith("visual.") or ".resblocks." in k or k == "positional_embedding" for k in state)
    named: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.endswith("position_ids") or key in _ARCHIVE_SIZES:
            continue
        named.update(_from_openai(key, value.float()) if openai else {_from_transformers(key): value.float()})
    return named


def openai_vision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's image tower stored on its own (`conv1.weight`, `proj`, `transformer.resblocks.…`) under the names of
    `ClipVision`."""
    named = published_names({f"visual.{k}": v for k, v in state.items()})
    return {k.removeprefix("vision."): v for k, v in named.items()}


def openai_text_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's text tower stored on its own (`positional_embedding`, `ln_final.…`, `text_projection`, without or with
    `token_embedding.weight`) under the names of `ClipText`."""
    named = published_names(state)
    return {k.removeprefix("text."): v for k, v in named.items()}


def published_sizes(named: Mapping[str, Tensor]) -> ClipSizes:
    """Sizes of a checkpoint under the names of `Clip`; heads are 64 wide, as in all public ones.

    Raises ModelError when a tower is missing.
    """
    try:
        patch = named[_VISION + "embeddings.patch_embedding.weight"]
        places = named[_VISION + "embeddings.position_embedding.weight"]
        words = named[_TEXT + "embeddings.token_embedding.weight"]
        context = named[_TEXT + "embeddings.position_embedding.weight"]
        projection = named["vision.visual_projection.weight"]
    except KeyError as error:
        raise ModelError(
            "CLIP checkpoint", f"lacks {error.args[0]}", "give a checkpoint that holds both towers"
        ) from error
    width, text_width = patch.shape[0], words.shape[1]
    side = round((places.shape[0] - 1) ** 0.5) * patch.shape[-1]
    return ClipSizes(
        image=side, patch=patch.shape[-1], width=width, layers=_depth(named, _VISION), heads=max(1, width // 64),
        text_width=text_width, text_layers=_depth(named, _TEXT), text_heads=max(1, text_width // 64),
        context=context.shape[0], vocabulary=words.shape[0], projection=projection.shape[0],
    )  # fmt: skip


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load weights of which every key must fit; raises ModelError naming the first that does not."""
    own = module.state_dict()
    missing, unknown = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    shapes = sorted(k for k in set(own) & set(state) if own[k].shape != state[k].shape)
    for what, keys in (("missing", missing), ("unexpected", unknown), ("of another shape", shapes)):
        if keys:
            raise ModelError(origin, f"weights do not fit: {len(keys)} {what} ({', '.join(keys[:3])})")
    module.load_state_dict(dict(state))


_VISION, _TEXT = "vision.vision_model.", "text.text_model."
_ARCHIVE_SIZES = {"input_resolution", "context_length", "vocab_size"}
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_turned: Callable[[Tensor], Tensor] = lambda value: value.T.contiguous()
_same: Callable[[Tensor], Tensor] = lambda value: value
_SINGLE: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "visual.class_embedding": (_VISION + "embeddings.class_embedding", _same),
    "visual.positional_embedding": (_VISION + "embeddings.position_embedding.weight", _same),
    "visual.conv1.weight": (_VISION + "embeddings.patch_embedding.weight", _same),
    "visual.ln_pre.weight": (_VISION + "pre_layrnorm.weight", _same),
    "visual.ln_pre.bias": (_VISION + "pre_layrnorm.bias", _same),
    "visual.ln_post.weight": (_VISION + "post_layernorm.weight", _same),
    "visual.ln_post.bias": (_VISION + "post_layernorm.bias", _same),
    "visual.proj": ("vision.visual_projection.weight", _turned),
    "token_embedding.weight": (_TEXT + "embeddings.token_embedding.weight", _same),
    "positional_embedding": (_TEXT + "embeddings.position_embedding.weight", _same),
    "ln_final.weight": (_TEXT + "final_layer_norm.weight", _same),
    "ln_final.bias": (_TEXT + "final_layer_norm.bias", _same),
    "text_projection": ("text.text_projection.weight", _turned),
    "logit_scale": ("logit_scale", _same),
}


def _from_openai(key: str, value: Tensor) -> dict[str, Tensor]:
    if key in _SINGLE:
        name, change = _SINGLE[key]
        return {name: change(value)}
    match = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)", key)
    if not match:
        return {key: value}
    layer = f"{_VISION if match[1] else _TEXT}encoder.layers.{match[2]}."
    if match[3] == "attn.in_proj":  # queries, keys and values are stacked
        return {f"{layer}self_attn.{n}_proj.{match[4]}": part.contiguous()
                for n, part in zip("qkv", value.chunk(3), strict=True)}  # fmt: skip
    return {f"{layer}{_BLOCK[match[3]]}.{match[4]}" if match[3] in _BLOCK else key: value}


def _from_transformers(key: str) -> str:
    if key.startswith(("vision_model.", "visual_projection.")):
        return f"vision.{key}"
    return f"text.{key}" if key.startswith(("text_model.", "text_projection.")) else key


def _bare(model: nn.Module, name: str) -> nn.Module:
    """The transformer itself: some versions of the package wrap it once more."""
    return getattr(model, name, model)


def _depth(named: Mapping[str, Tensor], prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"encoder\.layers\.(\d+)\.")
    return 1 + max((int(m[1]) for k in named if (m := pattern.match(k))), default=-1)

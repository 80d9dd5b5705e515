"""Video language models of the Qwen family as they come from `transformers`: a second backend beside the chassis.

    base, tokenizer = load_native("Qwen/Qwen2.5-Omni-7B", "bfloat16")
    model = NativeLM(base, tokenizer, lora=lora_settings())
    processor = NativeProcessor(tokenizer, model, budget=TokenBudget(8192))
    batch = processor.encode([{"messages": [...], "media": {"frame": pairs, "audio": mel}, "answer": "..."}])
    loss = model(**processor.inputs(batch)).loss
    ids = model.generate(**processor.asking(prompts), max_new_tokens=64)

Everything that writes prompts, learns from answers, draws them, re-allocates attention or puts experts into layers sees
the interface of the chassis: `modality_ids` (1 video, 2 audio) are the places of media in the prompt, `media` their
values. Media come preprocessed by this library (`native_media`), so neither torchvision nor a processor of the hub is
needed: `frame` holds pairs of frames (n, 2, 3, H, W), `audio` log-mel frames (n, bins). The base is frozen; only
adapters, experts and an opened output layer are saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from affectus.errors import ConfigError, ModelError
from affectus.lm.adapters import add_lora
from affectus.lm.bases import base_tokenizer
from affectus.lm.budget import Fitted, TokenBudget
from affectus.lm.config import AffectiveLMConfig, Branch, Encoder, vocabulary_digest
from affectus.lm.modality_experts import add_experts
from affectus.lm.processor import Processor
from affectus.lm.qwen_vision import pair_patches
from affectus.lm.reallocation import SpanAttention, SpanState
from affectus.lm.splice import positions
from affectus.lm.toy import toy_video_model

#: Model types that this backend knows, and the class that loads them.
FAMILIES = {
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "qwen2_5_omni_thinker": "Qwen2_5OmniThinkerForConditionalGeneration",
}


def load_native(name: str, precision: str = "float32") -> tuple[Any, Any]:
    """Video language model and tokenizer: a hub id or folder, or "toy:omni:words" (random; families vl, vl2.5 and omni,
    tokenizer of a group of prompts). No foreign code is run. ModelError for a model that is none of `FAMILIES`."""
    dtype = getattr(torch, precision, None)
    if not isinstance(dtype, torch.dtype):
        raise ConfigError(precision, "is no precision", "use float32, bfloat16 or float16")
    if name.startswith("toy:"):
        family, _, group = name.removeprefix("toy:").partition(":")
        return toy_video_model(base_tokenizer(group or "words"), family)
    import transformers

    try:
        kind = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False).model_type
        if kind not in FAMILIES:
            raise _refusal(name, kind)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model = getattr(transformers, FAMILIES[kind]).from_pretrained(name, dtype=dtype, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(name, f"cannot be loaded as a video language model: {str(error).splitlines()[0]}") from None
    return model.eval(), tokenizer


def _refusal(name: str, kind: str) -> ModelError:
    known = ", ".join(sorted(FAMILIES))
    return ModelError(name, f"is a {kind} model and no video language model of this backend", f"it takes {known}")


class NativeLM(SpanAttention, nn.Module):
    """See the module text. `seconds` is the time between two pairs of frames, from which Qwen2.5's positions follow."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        source: str = "",
        lora: Mapping[str, Any] | None = None,
        experts: Mapping[str, Any] | None = None,
        seconds: float = 1.0,
    ) -> None:
        super().__init__()
        settings = model.config
        if settings.model_type not in FAMILIES:
            raise _refusal(source or "model", settings.model_type)
        self.language_model, self.family, self.seconds = model, settings.model_type, seconds
        self.hears = getattr(settings, "audio_config", None) is not None
        self.fillers = {name: int(getattr(settings, f"{name}_token_id"))
                        for name in ("video", "audio") if name == "video" or self.hears}  # fmt: skip
        vision = settings.vision_config
        self.patch, self.merge = int(vision.patch_size), int(vision.spatial_merge_size)
        self.connectors: dict[str, Any] = {}
        self.config = AffectiveLMConfig(
            source, encoders=self._encoders(), branches=self._branches(tokenizer), lora=lora, experts=experts,
            vocabulary_digest=vocabulary_digest(tokenizer),
        )  # fmt: skip
        # Not above: a new configuration resets the attention of those below it, and then no mask is made for them.
        self.config.text_config = settings.get_text_config()
        model.requires_grad_(False)
        self.opened = False
        self.spans = SpanState()
        if lora is not None:
            self._adapt(dict(lora))
        if experts is not None:
            add_experts(self, experts)
        self.text_model().register_forward_pre_hook(self._note, with_kwargs=True)

    def _encoders(self) -> dict[str, Encoder]:
        settings = self.language_model.config
        heard = {"audio": Encoder(int(settings.audio_config.num_mel_bins))} if self.hears else {}
        return {"frame": Encoder(2 * 3 * self.patch**2)} | heard

    def _branches(self, tokenizer: Any) -> dict[str, Branch]:
        """Places of media between the marks the model knows; ModelError when the tokenizer lacks one."""
        settings, found = self.language_model.config, dict[str, Branch]()
        for name, source, kind in (("video", "frame", "vision"), ("audio", "audio", "audio"))[: 1 + self.hears]:
            marks = [getattr(settings, f"{kind}_{side}_token_id", None) for side in ("start", "end")]
            wrap = "{}".join(str(tokenizer.convert_ids_to_tokens(mark)) if mark is not None else "" for mark in marks)
            if "None" in wrap or tokenizer.convert_ids_to_tokens(self.fillers[name]) is None:
                raise ModelError("tokenizer", f"lacks the marks of {name} places", "give the tokenizer of this model")
            found[name] = Branch((source,), wrap=wrap)
        return found

    def _adapt(self, lora: dict[str, Any]) -> None:
        opened = lora.pop("saved_modules", [])
        if unknown := sorted(set(opened) - {"lm_head"}):
            raise ConfigError("LoRA", f"cannot open {unknown[0]} of this backend", "open lm_head or nothing")
        add_lora(self.text_model(), lora)
        if opened:
            self.opened = True
            self.language_model.lm_head.requires_grad_(True)

    def text_model(self) -> Any:
        """The part that reads embeddings."""
        return self.language_model.model.language_model

    def _note(self, _module: Any, _args: Any, kwargs: Mapping[str, Any]) -> None:
        """Whether a pass goes on from a cache, for experts inside `generate`."""
        memory = kwargs.get("past_key_values")
        self.spans.cached = memory is not None and memory.get_seq_length() > 0

    def cells(self, height: int, width: int) -> int:
        """Tokens of one pair of frames."""
        return height * width // (self.patch * self.merge) ** 2

    def media_inputs(self, modality_ids: Tensor, media: Mapping[str, tuple[Tensor, Tensor]] | None) -> dict[str, Any]:
        """What the model itself takes for media in the places of `modality_ids` (B, L).

        ModelError names branch and row when a row reserves another number of places than it has tokens.
        """
        found: dict[str, Any] = {}
        for number, name in enumerate(self.config.branch_names, 1):
            source, places = self.config.branch(name).sources[0], (modality_ids == number).sum(1)
            if not bool(places.any()):
                continue
            if source not in (media or {}):
                raise ModelError(f"branch {name}", f"the prompt reserves places but there is no {source}")
            values, mask = (media or {})[source]
            mask = mask & (places > 0).unsqueeze(1)
            found |= self._pictures(values, mask) if name == "video" else self._sounds(values, mask)
            given = mask.sum(1) * self.cells(*values.shape[-2:]) if name == "video" else sound_tokens(mask.sum(1))
            if bool((given != places).any()):
                row = int((given != places).int().argmax())
                raise ModelError(
                    f"branch {name}",
                    f"row {row} reserves {int(places[row])} places but has {int(given[row])} tokens",
                    "build prompts with the processor of this model",
                )
        if "omni" not in self.family and found:
            found["mm_token_type_ids"] = (modality_ids == 1).int() * 2
        return found

    def _pictures(self, values: Tensor, mask: Tensor) -> dict[str, Any]:
        height, width = (side // self.patch for side in values.shape[-2:])
        counts = mask.sum(1)
        grid = torch.stack([counts, torch.full_like(counts, height), torch.full_like(counts, width)], 1)[counts > 0]
        found = {"pixel_values_videos": pair_patches(values[mask], self.patch, self.merge), "video_grid_thw": grid}
        if self.family != "qwen2_vl":
            seconds = "video_second_per_grid" if "omni" in self.family else "second_per_grid_ts"
            found[seconds] = torch.full((len(grid),), self.seconds, device=values.device)
        return found

    def _sounds(self, values: Tensor, mask: Tensor) -> dict[str, Any]:
        kept = mask.any(1)
        return {"input_features": values[kept].mT.contiguous(), "feature_attention_mask": mask[kept].long()}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        modality_ids: Tensor | None = None,
        media: Mapping[str, tuple[Tensor, Tensor]] | None = None,
        past_key_values: Any = None,
        labels: Tensor | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> Any:
        """As the chassis: `logits` (B, L or the last `logits_to_keep`, vocabulary), `loss` when `labels` are given."""
        inner = self.language_model.model
        given: dict[str, Any] = {}
        if past_key_values is None or past_key_values.get_seq_length() == 0:
            inner.rope_deltas = None
            given = {} if modality_ids is None else self.media_inputs(modality_ids, media)
        elif attention_mask is not None:
            given["position_ids"] = self._later(attention_mask, input_ids.shape[1])
        self.spans.ids = modality_ids
        found = self.language_model(input_ids=input_ids, attention_mask=attention_mask, labels=labels,
                                    past_key_values=past_key_values, **given, **kwargs)  # fmt: skip
        if logits_to_keep:
            found.logits = found.logits[:, -logits_to_keep:]
        return found

    def _later(self, attention_mask: Tensor, length: int) -> Tensor:
        """Positions (B, L) of tokens that follow a prompt whose media took up more or less room than their tokens."""
        found, moved = positions(attention_mask)[:, -length:], self.language_model.model.rope_deltas
        return found if moved is None else found + moved.repeat_interleave(len(found) // len(moved), 0)

    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        modality_ids: Tensor | None = None,
        media: Mapping[str, tuple[Tensor, Tensor]] | None = None,
        **options: Any,
    ) -> Tensor:
        """Prompts followed by what is generated (B, L); `options` are those of `transformers`."""
        copies = max(int(options.get("num_return_sequences", 1)), int(options.get("num_beams", 1)))
        inner, again = self.language_model.model, options.get("past_key_values") is not None
        given = {} if modality_ids is None or again else self.media_inputs(modality_ids, media)
        if again and inner.rope_deltas is not None:
            inner.rope_deltas = inner.rope_deltas.repeat_interleave(len(input_ids) // len(inner.rope_deltas), 0)
        self.spans.ids = None if modality_ids is None else modality_ids.repeat_interleave(copies, 0)
        return self.language_model.generate(input_ids=input_ids, attention_mask=attention_mask, **given, **options)

    def saved_names(self) -> list[str]:
        """Names in the state dict that belong to this model and not to its base."""
        return [name for name in self.state_dict() if ".lora_" in name or (self.opened and ".lm_head." in name)]


class NativeProcessor(Processor):
    """Prepares batches for a `NativeLM`. Too long prompts lose pairs of frames, evenly, and `notes` say so; sound is
    kept whole. All frames of a batch have one size that divides into the model's blocks (`native_media.video_pairs`).
    """

    def __init__(
        self, tokenizer: Any, model: NativeLM, template: str = "auto", budget: TokenBudget | None = None
    ) -> None:
        super().__init__(tokenizer, model, template, budget)
        self._fillers, self._count_cells, self._cells = model.fillers, model.cells, 0
        self._block = model.patch * model.merge

    def encode(self, items: Sequence[Mapping[str, Any]], side: str = "left") -> dict[str, Any]:
        """As `Processor.encode`, with `media` "frame" (n, 2, 3, H, W) and "audio" (n, bins)."""
        sizes = {tuple(shape) for item in items if (shape := self._checked(item)) is not None}
        if len(sizes) > 1:
            told = " and ".join(f"{height} x {width}" for height, width in sorted(sizes))
            raise ConfigError("frames", f"of {told} pixels are in one batch", "bring them to one size")
        self._cells = self._count_cells(*sizes.pop()) if sizes else 0
        return super().encode(items, side)

    def tokens_of(self, name: str, lengths: Mapping[str, int]) -> int:
        """Tokens of a branch for so many pairs of frames or log-mel frames."""
        return lengths.get("frame", 0) * self._cells if name == "video" else int(sound_tokens(lengths.get("audio", 0)))

    def _checked(self, item: Mapping[str, Any]) -> Sequence[int] | None:
        """Height and width of an item's frames; ConfigError when they cannot be cut into blocks."""
        frames = (item.get("media") or {}).get("frame")
        if frames is None or not len(frames):
            return None
        shape = tuple(frames.shape)
        if len(shape) != 5 or shape[1:3] != (2, 3) or shape[3] % self._block or shape[4] % self._block:
            raise ConfigError("frames", f"have the shape {shape}; pairs (n, 2, 3, H, W) are needed",
                              f"sides are multiples of {self._block}")  # fmt: skip
        return shape[3:]

    def _fitted(self, text: int, lengths: Mapping[str, int], used: Sequence[str]) -> Fitted:
        assert self.budget is not None
        text += sum(self.tokens_of(name, lengths) for name in used if name != "video")
        seen = {"frame": lengths["frame"]} if "video" in used else {}
        fit = self.budget.fit(text, seen, lambda sizes: self.tokens_of("video", sizes))
        return Fitted({**lengths, **fit.lengths}, fit.notes)

    def _filler(self, name: str) -> int:
        return self._fillers[name]


def sound_tokens(frames: Any) -> Any:
    """Tokens that Qwen2.5-Omni makes of log-mel frames, a number or a tensor of numbers: halved twice."""
    return ((frames - 1) // 2 - 1) // 2 + 1

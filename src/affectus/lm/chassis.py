"""One multimodal language model for all emotion models of its kind: encoders, connectors, splice, any causal LM, LoRA.

    config = AffectiveLMConfig(base="Qwen/Qwen2.5-7B-Instruct", encoders={...}, branches={...}, lora=lora_settings())
    model = AffectiveLM.build(config, tokenizer=tokenizer)
    batch = Processor(tokenizer, model).encode([{"messages": [...], "media": {"video": frames}, "answer": "..."}])
    loss = model(**batch).loss
    ids = model.generate(**Processor.asking(batch), max_new_tokens=64)

    media --encoders--> tokens (B, N, D) --connectors--> (B, n, width) --splice--> embeddings (B, L, width) --LM--> text

The prompt reserves places by `modality_ids` (B, L): 0 for text, i + 1 for tokens of the i-th branch. The same ids are
the spans by which attention can be re-allocated or adapters routed (`model.spans.ids`). Encoders and the language model
are frozen unless the configuration opens them; only what trains is saved, and loading checks that the base still fits.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PreTrainedModel

from affectus.errors import ConfigError, ModelError
from affectus.lm.adapters import add_lora, with_adapter
from affectus.lm.config import AffectiveLMConfig, vocabulary_digest
from affectus.lm.connectors import Connector, build_connector
from affectus.lm.encoders import Tokens, build_encoder
from affectus.lm.modality_experts import add_experts
from affectus.lm.reallocation import SpanAttention, SpanState
from affectus.lm.splice import fit_length, positions, splice

#: Media of a batch: encoder name → (values (B, T, ...), mask (B, T)).
Media = Mapping[str, tuple[Tensor, Tensor]]


class AffectiveLM(SpanAttention, PreTrainedModel, GenerationMixin):
    """See the module text; build it with `build` or `from_pretrained`."""

    config_class = AffectiveLMConfig
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(
        self,
        config: AffectiveLMConfig,
        language_model: Any = None,
        modules: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__(config)
        if language_model is None:
            language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.language_model = language_model
        self.language_model.requires_grad_(config.train_base)
        given = dict(modules or {})
        self.encoders = nn.ModuleDict(
            {name: build_encoder(name, config.encoder(name), given.get(name)) for name in config.encoders}
        )
        self.connectors = nn.ModuleDict({name: self._connector(name) for name in config.branch_names})
        if config.lora is not None:
            add_lora(self.language_model, config.lora)
        self.spans = SpanState()
        if config.experts is not None:
            add_experts(self, config.experts)
        self.generation_config = self.language_model.generation_config
        self.post_init()

    def init_weights(self) -> None:
        """Parts come initialised or loaded; nothing is drawn again."""

    def _connector(self, name: str) -> Connector:
        branch = self.config.branch(name)
        widths = [self.config.encoder(source).width for source in branch.sources]
        width = self.language_model.get_input_embeddings().embedding_dim
        return build_connector(branch.connector, widths, width, branch.tokens, dict(branch.options))

    @classmethod
    def build(
        cls,
        config: AffectiveLMConfig,
        language_model: Any = None,
        tokenizer: Any = None,
        modules: Mapping[str, nn.Module] | None = None,
        dtype: Any = None,
    ) -> AffectiveLM:
        """A new model: `language_model` is a loaded causal LM, or None to load `config.base`; no foreign code is run.

        `tokenizer` is remembered by its digest, so that an adapter is never put on another vocabulary.
        """
        loaded = language_model if language_model is not None else _load_base(config.base, dtype)
        config.text_config = loaded.config
        if tokenizer is not None:
            config.vocabulary_digest = vocabulary_digest(tokenizer)
        return cls(config, loaded, modules)

    def get_input_embeddings(self) -> nn.Module:
        """Token embeddings of the language model."""
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """Output layer of the language model."""
        return self.language_model.get_output_embeddings()

    def branch_tokens(self, media: Media, names: Mapping[int, str], question: Tokens | None = None) -> dict[int, Any]:
        """Tokens of the named branches by modality number, as `splice` takes them; each encoder runs once."""
        needed = {source for name in names.values() for source in self.config.branch(name).sources}
        if missing := sorted(needed - set(media)):
            users = [n for n in names.values() if set(self.config.branch(n).sources) & set(missing)]
            raise ModelError(f"branch {users[0]}", f"the prompt reserves places but there is no {missing[0]}")
        dtype = next(self.connectors.parameters()).dtype
        encoded = {source: _cast(self.encoders[source](*media[source]), dtype) for source in sorted(needed)}
        question = None if question is None else _cast(question, dtype)
        found = {}
        for number, name in names.items():
            sources = [encoded[source] for source in self.config.branch(name).sources]
            found[number] = (name, self.connectors[name](sources, question))
        return found

    def embed(self, input_ids: Tensor, modality_ids: Tensor | None, media: Media | None, mask: Tensor | None) -> Tensor:
        """Embeddings (B, L, width) of a prompt with the tokens of its branches in their places."""
        embedding = self.get_input_embeddings()
        if modality_ids is None:
            if media:
                raise ModelError(
                    "modality_ids", "are missing, so media have no places in the prompt", "use the processor"
                )
            return embedding(input_ids)
        text = modality_ids == 0
        embeddings = embedding(input_ids.masked_fill(~text, self.config.filler_id))
        used = sorted({int(i) for i in torch.unique(modality_ids).tolist()} - {0})
        if not used:
            return embeddings
        names = {number: self.config.branch_names[number - 1] for number in used}
        question = Tokens(embeddings, text if mask is None else text & mask.bool())
        return splice(embeddings, modality_ids, self.branch_tokens(media or {}, names, question))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        media: Media | None = None,
        modality_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Output of the language model: `logits` (B, L, vocabulary), `loss` when `labels` (B, L; -100 = not learnt).

        In a cached decoding step `media` is None and `modality_ids` still that of the prompt.
        """
        if inputs_embeds is None:
            if input_ids is None:
                raise ModelError("input_ids", "are missing")
            first = past_key_values is None or past_key_values.get_seq_length() == 0
            places = None if modality_ids is None or not first else fit_length(modality_ids, input_ids.shape[1])
            inputs_embeds = self.embed(input_ids, places, media if first else None, attention_mask)
        if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
            position_ids = positions(attention_mask)[:, -inputs_embeds.shape[1] :]
        self.spans.ids = modality_ids
        self.spans.cached = past_key_values is not None and past_key_values.get_seq_length() > 0
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: Any,
        media: Any = None,
        modality_ids: Any = None,
        is_first_iteration: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Inputs of one decoding step: media only where the prompt itself goes through."""
        base: Any = super()
        inputs = base.prepare_inputs_for_generation(input_ids, is_first_iteration=is_first_iteration, **kwargs)
        whole = is_first_iteration or not kwargs.get("use_cache", True)
        return {**inputs, "media": media if whole else None, "modality_ids": modality_ids}

    def _expand_inputs_for_generation(self, expand_size: int = 1, **kwargs: Any) -> Any:  # type: ignore[override]
        """Media are repeated with their prompts, for several answers or beams per prompt."""
        if expand_size > 1 and kwargs.get("media"):
            kwargs["media"] = {
                name: tuple(part.repeat_interleave(expand_size, 0) for part in pair)
                for name, pair in kwargs["media"].items()
            }
        base: Any = super()
        return base._expand_inputs_for_generation(expand_size=expand_size, **kwargs)

    def traces(self) -> dict[str, dict[str, Tensor]]:
        """Gates and weights of the last forward pass, by branch."""
        found: dict[str, Any] = dict(self.connectors.items())
        return {name: dict(connector.trace) for name, connector in found.items() if connector.trace}

    def adapter(self, name: str | None) -> contextlib.AbstractContextManager[None]:
        """Run with another LoRA adapter, or with none."""
        return with_adapter(self.language_model, name)

    def saved_names(self) -> list[str]:
        """Names in the state dict that belong to this model and not to its base: connectors, adapters, opened parts."""
        opened = tuple(f"encoders.{n}." for n, e in self.config.encoders.items() if e["train"])
        kept = []
        for name in self.state_dict():
            own = name.startswith(("connectors.", *opened)) or ".lora_" in name or ".modules_to_save." in name
            if own or (self.config.train_base and name.startswith("language_model.")):
                kept.append(name)
        return kept

    def save_pretrained(self, save_directory: str | Path, *_args: Any, **_kwargs: Any) -> None:  # type: ignore[override]
        """Write `config.json` and `model.safetensors` with the trained weights only."""
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        state = self.state_dict()
        save_file({n: state[n].detach().cpu().clone().contiguous() for n in self.saved_names()},
                  folder / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
        self.config.save_pretrained(folder)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        folder: str | Path,
        *,
        language_model: Any = None,
        tokenizer: Any = None,
        modules: Mapping[str, nn.Module] | None = None,
        base: str | None = None,
        dtype: Any = None,
    ) -> AffectiveLM:
        """Load what `save_pretrained` wrote, onto its base (or onto another copy of it: `base`, `language_model`).

        ModelError when hidden size, vocabulary size or tokenizer are not those of the saved model, and when weights are
        missing or do not fit; all weights of the file are used.
        """
        path = Path(folder)
        if not (path / "config.json").is_file() or not (path / "model.safetensors").is_file():
            raise ModelError(
                path, "holds no config.json and model.safetensors", "give a folder written by save_pretrained"
            )
        config = AffectiveLMConfig(**json.loads((path / "config.json").read_text(encoding="utf-8")))
        saved = config.text_config
        loaded = language_model if language_model is not None else _load_base(base or config.base, dtype)
        _check_base(str(path), saved, loaded.config, config.vocabulary_digest, tokenizer)
        model = cls.build(config, loaded, None, modules)
        _load_exactly(model, load_file(path / "model.safetensors"), path)
        return model.eval()


def _cast(tokens: Tokens, dtype: torch.dtype) -> Tokens:
    """Tokens in the precision of the connectors, whatever encoders and language model use."""
    return Tokens(tokens.values.to(dtype), tokens.mask, tokens.grid, tokens.items)


def _load_base(base: str, dtype: Any) -> Any:
    if not base:
        raise ConfigError("base", "is not given", "give the hub id or folder of a causal language model")
    try:
        AutoConfig.from_pretrained(base, trust_remote_code=False)
        return AutoModelForCausalLM.from_pretrained(base, dtype=dtype or torch.float32, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(base, f"cannot be loaded as a causal language model: {str(error).splitlines()[0]}") from None


def _check_base(origin: str, saved: Any, found: Any, digest: str, tokenizer: Any) -> None:
    for name, title in (("hidden_size", "hidden size"), ("num_hidden_layers", "number of layers"),
                        ("vocab_size", "vocabulary size")):  # fmt: skip
        if getattr(saved, name, None) != getattr(found, name, None):
            raise ModelError(
                origin,
                f"was trained on a base with {title} {getattr(saved, name)}, this one has {getattr(found, name)}",
            )
    if tokenizer is not None and digest and vocabulary_digest(tokenizer) != digest:
        raise ModelError(origin, "was trained with another tokenizer", "give the tokenizer of its own base")


def _load_exactly(model: AffectiveLM, state: Mapping[str, Tensor], path: Path) -> None:
    own, wanted = model.state_dict(), set(model.saved_names())
    missing, extra = sorted(wanted - set(state)), sorted(set(state) - wanted)
    shapes = sorted(n for n in wanted & set(state) if own[n].shape != state[n].shape)
    for names, what in ((missing, "lacks"), (extra, "has besides"), (shapes, "has in another shape")):
        if names:
            raise ModelError(
                path, f"{what} {len(names)} weights: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
            )
    model.load_state_dict(dict(state), strict=False)

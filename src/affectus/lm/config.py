"""What a multimodal language model is made of, as data: base, encoders, branches, adapters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from transformers import AutoConfig, PreTrainedConfig

from affectus.errors import ConfigError


@dataclass(frozen=True)
class Encoder:
    """One source of tokens.

    `kind` "features" takes cached features (T, width) as they are; "vision" and "audio" load the model `source` (hub id
    or folder) of `transformers`; "module" is a module given in code, called with (n, ...) valid items, giving (n,
    width) or (n, patches, width). `output` names the field of a transformers output, `layers` averages that many of its
    last hidden states, `pool` "mean" averages the tokens of one frame or clip, `drop_first` leaves out its class token.
    `train` opens its weights; a frozen encoder stays in evaluation mode whatever happens.
    """

    width: int
    kind: Literal["features", "vision", "audio", "module"] = "features"
    source: str = ""
    output: str = "last_hidden_state"
    layers: int = 1
    pool: Literal["none", "mean"] = "none"
    drop_first: bool = False
    train: bool = False


@dataclass(frozen=True)
class Branch:
    """One way from encoders into the language model.

    `marker` is the text that stands for the branch in a prompt, `slot` the placeholder of prompt files it fills (face
    and frames may share "video") and `wrap` the text around it there. `connector` is a name of `connectors.CONNECTORS`,
    `tokens` how many tokens it gives where that is fixed, `options` its further settings.
    """

    sources: tuple[str, ...]
    connector: str = "attention"
    tokens: int = 1
    marker: str = ""
    slot: str = ""
    wrap: str = "{}"
    options: Mapping[str, Any] = field(default_factory=dict)


class AffectiveLMConfig(PreTrainedConfig):
    """Configuration of `AffectiveLM`; JSON-like, so that `save_pretrained` and `from_pretrained` carry it.

    `base` is the hub id or folder of the causal language model and `text_config` its configuration. `vocabulary_digest`
    is the hash of the tokenizer the weights were trained with ("" when it was not given). `lora` holds rank, alpha,
    dropout, targets and optional saved modules; None for no adapter. `experts` holds the settings of experts per
    modality (`modality_experts`). `train_base` opens all weights of the base.
    """

    model_type = "affectus_lm"
    sub_configs = {"text_config": AutoConfig}  # noqa: RUF012 (the library's own protocol)

    def __init__(
        self,
        base: str = "",
        text_config: Any = None,
        encoders: Mapping[str, Any] | None = None,
        branches: Mapping[str, Any] | None = None,
        lora: Mapping[str, Any] | None = None,
        vocabulary_digest: str = "",
        train_base: bool = False,
        filler_id: int = 0,
        branch_order: Sequence[str] | None = None,
        experts: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.base = base
        if isinstance(text_config, Mapping):
            settings = dict(text_config)
            text_config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        self.text_config = text_config
        self.encoders = {k: asdict(v) if isinstance(v, Encoder) else dict(v) for k, v in (encoders or {}).items()}
        # The order gives the modality numbers; saved configurations sort their keys, so it is kept apart.
        self.branch_order = list(branch_order if branch_order is not None else (branches or {}))
        self.branches = {k: _branch(k, (branches or {})[k]) for k in self.branch_order}
        self.lora = None if lora is None else dict(lora)
        self.experts = None if experts is None else dict(experts)
        self.vocabulary_digest = vocabulary_digest
        self.train_base = train_base
        self.filler_id = filler_id
        super().__init__(**kwargs)
        for name, branch in self.branches.items():
            if missing := [s for s in branch["sources"] if s not in self.encoders]:
                raise ConfigError(f"branch {name}", f"has no encoder {', '.join(missing)}")
        markers = [branch["marker"] for branch in self.branches.values()]
        if len(set(markers)) != len(markers):
            raise ConfigError("branches", "two of them have the same marker")

    def encoder(self, name: str) -> Encoder:
        """An encoder by name."""
        return Encoder(**self.encoders[name])

    def branch(self, name: str) -> Branch:
        """A branch by name."""
        record = self.branches[name]
        return Branch(**{**record, "sources": tuple(record["sources"])})

    @property
    def branch_names(self) -> tuple[str, ...]:
        """Names of the branches; the tokens of the i-th one carry the modality number i + 1."""
        return tuple(self.branches)

    def get_text_config(self, decoder: Any = None, encoder: Any = None) -> Any:
        """Configuration of the language model, which is what generation asks for."""
        return self.text_config if self.text_config is not None else self


def _branch(name: str, branch: Any) -> dict[str, Any]:
    record = asdict(branch) if isinstance(branch, Branch) else dict(branch)
    record["sources"] = list(record["sources"])
    record["marker"] = record.get("marker") or f"<{name.capitalize()}Here>"
    record["slot"] = record.get("slot") or name
    record["options"] = dict(record.get("options") or {})
    return record


def vocabulary_digest(tokenizer: Any) -> str:
    """SHA-256 (hex) over the tokens and ids of a tokenizer: adapters fit only the vocabulary they were trained with."""
    entries = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    content = "\n".join(f"{index}\t{token}" for token, index in entries)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

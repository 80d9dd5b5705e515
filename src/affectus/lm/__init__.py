"""The language side: prompts, chat templates, tags, label matching, judges, retrieval, rewards, and the multimodal
chassis.

Modules that need no torch (`prompts`, `tags`, `matching`, `extraction`, `judge`, `retrieval`, `completions`, `rewards`,
`instructions`) load none. The chassis is `affectus.lm.chassis.AffectiveLM`: encoders, connectors, placeholder splice
and any causal language model of `transformers`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "Prompt": "prompts",
    "load_prompt": "prompts",
    "list_prompts": "prompts",
    "Grammar": "tags",
    "Block": "tags",
    "parse_json": "tags",
    "parse_number": "tags",
    "parse_choice": "tags",
    "LabelMatcher": "matching",
    "extract_words": "extraction",
    "extract_many": "extraction",
    "answer_words": "extraction",
    "Judge": "judge",
    "EndpointClient": "judge",
    "LocalClient": "judge",
    "EmbeddingIndex": "retrieval",
    "ChatTemplate": "chat",
    "LabelTrie": "constrained",
    "AffectiveLM": "chassis",
    "AffectiveLMConfig": "config",
    "Branch": "config",
    "Encoder": "config",
    "Processor": "processor",
    "TokenBudget": "budget",
    "Reallocation": "reallocation",
    "lora_settings": "adapters",
    "Instruction": "instructions",
    "Mixer": "instructions",
    "build_instruction": "instructions",
    "load_packaged": "packaged",
    "packaged_model": "packaged",
    "NativeLM": "native",
    "NativeProcessor": "native",
    "load_native": "native",
    "expert_settings": "modality_experts",
    "Reliance": "reliance",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"affectus.lm.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'affectus.lm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_PUBLIC)

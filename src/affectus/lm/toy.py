"""Random language models of a few thousand weights and tokenizers trained on the spot: for learning tests, for
`Config.tiny()` of systems, for trying a recipe without any download."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

#: Words every toy tokenizer knows, whatever it is trained on.
BASE_TEXTS = (
    "###Human: ###Assistant: user assistant system question answer think",
    "happy sad angry fearful surprised disgusted neutral joyful worried anxious relaxed excited calm frustrated",
    "Name all emotional states the person may be expressing, as words separated by commas.",
    "The audio: the video: the face: what the person says. There is no audio. There is no video.",
    "0 1 2 3 4 5 6 7 8 9 . , ; : ! ? - ' \" ( ) [ ] < > / \\ { } # _ @ a1 a2 same positive negative",
)


def toy_tokenizer(texts: Iterable[str] = (), size: int = 400, template: str | None = None) -> Any:
    """A byte-level BPE tokenizer (transformers fast tokenizer) trained on `texts` and `BASE_TEXTS`.

    Has `<|pad|>` (id 0) and `<|end|>` (id 1, end of text) and can spell any text. `template` is its chat template
    (Jinja), None for a tokenizer without one.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|pad|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([*BASE_TEXTS, *texts], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<|pad|>", eos_token="<|end|>")
    tokenizer.padding_side = "left"
    tokenizer.chat_template = template
    return tokenizer


def toy_language_model(
    vocabulary: int,
    width: int = 32,
    layers: int = 2,
    heads: int = 4,
    family: Literal["llama", "qwen2"] = "llama",
    seed: int = 0,
    positions: int = 512,
) -> Any:
    """A random causal language model in the shape of Llama or Qwen2, in evaluation mode, float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    kind, build = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}[family]
    config = kind(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 2),
        max_position_embeddings=positions,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=False,
        attention_dropout=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(config)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, 1
    return model.eval()


#: Words that the drawn emotions of `corpora.synthetic` go by; the first one is the closest.
OPEN_WORDS = {
    "neutral": ("calm", "relaxed"),
    "happiness": ("happy", "joyful"),
    "surprise": ("surprised", "amazed"),
    "sadness": ("sad", "lonely"),
    "anger": ("angry", "furious"),
    "disgust": ("disgusted", "repelled"),
    "fear": ("scared", "worried"),
}


def toy_record(emotion: str, name: str = "") -> dict[str, Any]:
    """What is known about a drawn clip of an emotion, as instructions take it: words, and a reason that names them."""
    words = OPEN_WORDS[emotion]
    reason = f"The voice and the face: {words[0]}."
    return {"name": name, "openset": list(words), "reason": reason, "label": emotion, "labels": list(OPEN_WORDS)}

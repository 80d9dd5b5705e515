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


#: Marks and fillers of media in the prompts of Qwen's video language models.
MEDIA_MARKS = ("<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|image_pad|>", "<|audio_bos|>", "<|audio_eos|>",
               "<|AUDIO|>")  # fmt: skip


def toy_video_model(tokenizer: Any, family: str = "vl2.5", seed: int = 0) -> tuple[Any, Any]:
    """A random video language model in the shape of Qwen2-VL ("vl"), Qwen2.5-VL ("vl2.5") or the thinker of
    Qwen2.5-Omni ("omni"; hears 16 log-mel bins), and a copy of the tokenizer with the marks of media.

    Width 32, two layers; a vision tower of one layer with patches of 7 pixels, so that blocks have 14.
    """
    import copy

    import torch
    import transformers

    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_tokens(list(MEDIA_MARKS), special_tokens=True)
    ids = dict(zip(MEDIA_MARKS, tokenizer.convert_tokens_to_ids(list(MEDIA_MARKS)), strict=True))
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
            "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None, "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}}  # fmt: skip
    vision = {"depth": 1, "num_heads": 2, "patch_size": 7, "spatial_merge_size": 2, "temporal_patch_size": 2}
    newer = {"hidden_size": 16, "intermediate_size": 32, "out_hidden_size": 32, "window_size": 28,
             "fullatt_block_indexes": [0]}  # fmt: skip
    marks = {"vision_start_token_id": ids["<|vision_start|>"], "vision_end_token_id": ids["<|vision_end|>"]}
    places = {"video": ids["<|video_pad|>"], "image": ids["<|image_pad|>"]}
    settings: dict[str, Any] = {"text_config": text, "tie_word_embeddings": False, **marks}
    if family == "omni":
        sound = {"num_mel_bins": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32,
                 "d_model": 16, "max_source_positions": 100, "n_window": 20, "output_dim": 32}  # fmt: skip
        settings |= {f"{name}_token_index": number for name, number in {**places, "audio": ids["<|AUDIO|>"]}.items()}
        settings |= {"audio_start_token_id": ids["<|audio_bos|>"], "audio_end_token_id": ids["<|audio_eos|>"]}
        settings |= {"audio_config": sound, "vision_config": vision | newer}
        kind: Any = transformers.Qwen2_5OmniThinkerForConditionalGeneration
    else:
        own = newer if family == "vl2.5" else {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}
        settings |= {f"{name}_token_id": number for name, number in places.items()} | {"vision_config": vision | own}
        kind = (transformers.Qwen2_5_VLForConditionalGeneration if family == "vl2.5"
                else transformers.Qwen2VLForConditionalGeneration)  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(kind.config_class(**settings))
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, 1
    return model.eval(), tokenizer


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

"""CLIP towers against an independent computation in OpenAI's key layout, and the tokenizer."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from affectus import assets
from affectus.errors import ConfigError, ModelError
from affectus.nn.clip import (
    Clip,
    ClipSizes,
    ClipText,
    ClipVision,
    load_exactly,
    openai_text_names,
    openai_vision_names,
    published_names,
    published_sizes,
)
from affectus.nn.clip_tokens import END, START, ClipTokenizer, byte_characters

TINY = ClipSizes.tiny()


def tiny_clip(state: dict[str, Tensor]) -> Clip:
    model = Clip(TINY).eval()
    load_exactly(model, published_names(state), "test")
    return model


@pytest.fixture(scope="module")
def state(openai_clip: Any) -> dict[str, Tensor]:
    return openai_clip.state(TINY)


def test_image_tower_equals_an_independent_computation(state: dict[str, Tensor], openai_clip: Any) -> None:
    pixels = torch.randn(3, 3, TINY.image, TINY.image, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = openai_clip.image(pixels, state, TINY.patch, TINY.heads)
        torch.testing.assert_close(tiny_clip(state).vision(pixels), wanted, rtol=1e-5, atol=1e-5)


def test_text_tower_equals_an_independent_computation(state: dict[str, Tensor], openai_clip: Any) -> None:
    ids = ClipTokenizer.of_bytes()(["a cat", "some dog"], 20)
    with torch.no_grad():
        wanted = openai_clip.text(state["token_embedding.weight"][ids], ids.argmax(-1), state, TINY.text_heads)
        torch.testing.assert_close(tiny_clip(state).text(ids), wanted, rtol=1e-5, atol=1e-5)


def test_nothing_after_the_read_out_changes_a_text(state: dict[str, Tensor]) -> None:
    text = tiny_clip(state).text
    ids = ClipTokenizer.of_bytes()(["a cat"], 20)
    changed = ids.clone()
    changed[0, int(ids.argmax()) + 1 :] = 5
    with torch.no_grad():
        torch.testing.assert_close(text(changed), text(ids), rtol=0, atol=1e-6)


def test_scaled_cosines(state: dict[str, Tensor]) -> None:
    model = tiny_clip(state)
    pixels, ids = torch.randn(2, 3, 32, 32), ClipTokenizer.of_bytes()(["x", "y", "z"], 8)
    with torch.no_grad():
        logits, image, text = model(pixels, ids), model.vision(pixels), model.text(ids)
        wanted = functional.cosine_similarity(image[:, None], text[None], dim=-1) * torch.tensor(4.6).exp()
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)


def test_transformers_layout_loads_too() -> None:
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(2)
    side = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 1}
    theirs = CLIPModel(
        CLIPConfig(
            text_config={**side, "vocab_size": 514, "max_position_embeddings": 16, "eos_token_id": 513},
            vision_config={**side, "image_size": 32, "patch_size": 16},
            projection_dim=24,
        )
    ).eval()
    state = {**theirs.state_dict(), "vision_model.embeddings.position_ids": torch.arange(5)[None]}
    ours = Clip.from_published(state).eval()
    assert ours.sizes.layers == 1
    ids = ClipTokenizer.of_bytes()(["cat", "a dog"], 12)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        wanted = theirs(input_ids=ids, pixel_values=pixels).logits_per_image
        torch.testing.assert_close(ours(pixels, ids), wanted, rtol=1e-5, atol=1e-5)


def test_sizes_are_read_from_the_weights(openai_clip: Any) -> None:
    sizes = ClipSizes(image=64, patch=16, width=64, layers=3, heads=1, text_width=128, text_layers=1, text_heads=2,
                      context=20, vocabulary=514, projection=40)  # fmt: skip
    assert published_sizes(published_names(openai_clip.state(sizes))) == sizes


def test_towers_stored_on_their_own(state: dict[str, Tensor]) -> None:
    alone = {k.removeprefix("visual."): v for k, v in state.items() if k.startswith("visual.")}
    load_exactly(ClipVision(TINY), openai_vision_names(alone), "image tower")
    text = {k: v for k, v in state.items() if not k.startswith("visual.") and k != "logit_scale"}
    load_exactly(ClipText(TINY), openai_text_names(text), "text tower")


def test_archive_sizes_and_half_precision_are_taken(state: dict[str, Tensor]) -> None:
    stored = {k: v.half() for k, v in state.items()} | {"input_resolution": torch.tensor(32)}
    named = published_names({**stored, "context_length": torch.tensor(32), "vocab_size": torch.tensor(514)})
    assert all(value.dtype == torch.float32 for value in named.values())
    load_exactly(Clip(TINY), named, "archive")


def test_wrong_checkpoints_are_named(state: dict[str, Tensor]) -> None:
    with pytest.raises(ModelError, match=r"unexpected.*visual\.extra"):
        load_exactly(Clip(TINY), published_names({**state, "visual.extra": torch.zeros(1)}), "here")
    short = {k: v for k, v in state.items() if k != "visual.class_embedding"}
    with pytest.raises(ModelError, match="class_embedding"):
        load_exactly(Clip(TINY), published_names(short), "here")
    with pytest.raises(ModelError, match="token_embedding"):
        Clip.from_published({k: v for k, v in state.items() if k != "token_embedding.weight"})
    with pytest.raises(ModelError, match="another shape"):
        load_exactly(Clip(TINY), published_names({**state, "visual.proj": torch.zeros(32, 7)}), "here")


def test_published_sizes_have_the_published_parameter_counts() -> None:
    with torch.device("meta"):
        counts = {
            name: sum(p.numel() for p in ClipVision(sizes).parameters())
            for name, sizes in (("B/32", ClipSizes.base32()), ("L/14", ClipSizes.large14()))
        }
    # CLIP's vision towers: 87.85 M and 303.97 M parameters, of which the projections are 768x512 and 1024x768
    assert counts == {"B/32": 87_456_000 + 393_216, "L/14": 303_179_776 + 786_432}


def test_byte_tokenizer_round_trip() -> None:
    tokenizer = ClipTokenizer.of_bytes()
    assert tokenizer.vocabulary == 514
    assert tokenizer.encode("ab &amp;  A") == [512, 64, 65 + 256, 5 + 256, 64 + 256, 513]
    assert tokenizer(["a", "ab"], 6).tolist() == [[512, 320, 513, 0, 0, 0], [512, 64, 321, 513, 0, 0]]


def test_too_long_texts_are_refused_or_cut() -> None:
    tokenizer = ClipTokenizer.of_bytes()
    with pytest.raises(ConfigError, match="12 tokens; 8 fit"):
        tokenizer(["abcdefghij"], 8)
    assert tokenizer(["abcdefghij"], 8, cut=True)[0, -1] == tokenizer.end


def test_trained_merges_in_every_file_layout(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learnt = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = ["the cat sat on the mat", "the hat of the cat"] * 4
    learnt.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=80, end_of_word_suffix="</w>", show_progress=False)
    )
    merges = [
        pair if isinstance(pair, list) else pair.split() for pair in json.loads(learnt.to_str())["model"]["merges"]
    ]
    merges = [pair for pair in merges if "Ġ" not in "".join(pair)]
    lines = "\n".join(" ".join(pair) for pair in merges)
    (tmp_path / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress(f"header\n{lines}\n".encode()))
    first = ClipTokenizer.from_file(tmp_path)
    assert first.vocabulary == 514 + len(merges) > 514
    ids = first.encode("The cat")
    assert len(ids) < len("the cat") + 1, "merges shorten the text"

    single = byte_characters()
    tokens = [*single, *(c + "</w>" for c in single), *("".join(pair) for pair in merges), START, END]
    (tmp_path / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (tmp_path / "merges.txt").write_text(f"#version: 0.2\n{lines}\n")
    second = ClipTokenizer.from_file(tmp_path / "vocab.json")
    first._encoder.save(str(tmp_path / "tokenizer.json"))
    assert ids == second.encode("The cat") == ClipTokenizer.from_file(tmp_path).encode("The cat")


@pytest.mark.parametrize("content", [b"", b"not a tokenizer"])
@pytest.mark.parametrize("name", ["tokenizer.json", "x.txt.gz", "vocab.json"])
def test_bad_tokenizer_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        ClipTokenizer.from_file(tmp_path / name)


def test_a_tokenizer_without_start_and_end_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigError, match="startoftext"):
        ClipTokenizer.from_file(tmp_path)
    with pytest.raises(ConfigError, match="holds no CLIP tokenizer"):
        ClipTokenizer.from_file(tmp_path / "missing")


@pytest.mark.assets
def test_published_token_ids() -> None:
    if not assets.available("clip-vocabulary"):
        pytest.skip("clip-vocabulary is not in the cache")
    tokenizer = ClipTokenizer.from_file(assets.resolve("clip-vocabulary"))
    assert tokenizer.vocabulary == 49408
    assert tokenizer.encode("a photo of a cat") == [49406, 320, 1125, 539, 320, 2368, 49407]

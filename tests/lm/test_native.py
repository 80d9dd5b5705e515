from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affectus.errors import ConfigError, MediaError, ModelError
from affectus.features.mel_frames import MelFrames
from affectus.lm.adapters import lora_settings
from affectus.lm.budget import TokenBudget
from affectus.lm.drawing import draw, log_probabilities
from affectus.lm.modality_experts import expert_layers, expert_settings
from affectus.lm.native import NativeLM, NativeProcessor, load_native, sound_tokens
from affectus.lm.native_media import fitted_size, video_pairs
from affectus.lm.qwen_vision import pair_patches
from affectus.lm.reallocation import Reallocation
from affectus.lm.reliance import measure
from affectus.lm.toy import toy_language_model, toy_video_model

FAMILIES = ("vl", "vl2.5", "omni")
every_family = pytest.mark.parametrize("family", FAMILIES)


def native(tokenizer: Any, family: str, **options: Any) -> tuple[NativeLM, NativeProcessor]:
    base, marked = toy_video_model(tokenizer, family)
    model = NativeLM(base, marked, **options).eval()
    return model, NativeProcessor(marked, model)


def items(family: str, count: int = 3) -> list[dict[str, Any]]:
    """Prompts with three pairs of frames and sound, with one pair, and with neither."""
    rng = np.random.default_rng(0)
    made: list[dict[str, Any]] = []
    for pairs, frames in ((3, 40), (1, 23), (0, 0)):
        media: dict[str, Any] = {"frame": rng.standard_normal((pairs, 2, 3, 28, 14)).astype("f4")}
        text = "What now?"
        if pairs:
            text = "See <VideoHere> and name it."
        if family == "omni" and frames:
            media["audio"] = rng.standard_normal((frames, 16)).astype("f4")
            text += " Hear <AudioHere>."
        made.append({"messages": [{"role": "user", "content": text}], "media": media})
    return made[:count]


@every_family
def test_logits_are_those_of_the_model_itself(tokenizer: Any, family: str) -> None:
    """The same prompt with inputs made by hand for the model of `transformers`."""
    model, processor = native(tokenizer, family)
    (item,) = items(family, 1)
    batch = processor.encode([item])
    ids, base = batch["input_ids"], model.language_model
    assert int((ids == base.config.video_token_id).sum()) == 3 * 2
    given: dict[str, Any] = {
        "pixel_values_videos": pair_patches(torch.from_numpy(item["media"]["frame"]), 7, 2),
        "video_grid_thw": torch.tensor([[3, 4, 2]]),
    }
    if family == "omni":
        assert int((ids == base.config.audio_token_id).sum()) == 10
        given["input_features"] = torch.from_numpy(item["media"]["audio"]).mT[None].contiguous()
        given |= {"feature_attention_mask": torch.ones(1, 40).long(), "video_second_per_grid": torch.ones(1)}
    else:
        given["mm_token_type_ids"] = 2 * (ids == base.config.video_token_id).int()
    if family == "vl2.5":
        given["second_per_grid_ts"] = torch.ones(1)
    with torch.no_grad():
        expected = base(input_ids=ids, attention_mask=torch.ones_like(ids), **given).logits
        torch.testing.assert_close(model(**processor.inputs(batch)).logits, expected)
        short = model(**processor.inputs(batch), logits_to_keep=3).logits
    torch.testing.assert_close(short, expected[:, -3:])


@every_family
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_gives_what_each_item_gives(tokenizer: Any, family: str, side: str) -> None:
    model, processor = native(tokenizer, family)
    batch = processor.encode(items(family), side)
    with torch.no_grad():
        together = model(**processor.inputs(batch)).logits
        for row, item in enumerate(items(family)):
            alone = model(**processor.inputs(processor.encode([item]))).logits[0]
            torch.testing.assert_close(together[row][batch["attention_mask"][row].bool()], alone, atol=1e-4, rtol=1e-4)


@every_family
def test_generation_agrees_with_single_prompts_and_with_shared_ones(tokenizer: Any, family: str) -> None:
    model, processor = native(tokenizer, family)
    batch = processor.encode(items(family, 2))
    asked, width = processor.asking(batch), batch["input_ids"].shape[1]
    options: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": 399, "pad_token_id": 0}
    found = model.generate(**asked, **options)[:, width:]
    assert found.shape == (2, 5)
    for row, item in enumerate(items(family, 2)):
        alone = processor.encode([item])
        answer = model.generate(**processor.asking(alone), **options)[0, alone["input_ids"].shape[1] :]
        assert torch.equal(answer, found[row])
    several = draw(model, asked, 2, **options)
    assert torch.equal(several[::2], found)
    assert torch.equal(several[1::2], found)
    assert model.generate(**asked, **options | {"num_return_sequences": 2, "do_sample": True}).shape[0] == 4
    mask = torch.ones_like(several)
    with torch.no_grad():
        shared = log_probabilities(model, asked, several, mask)
        own = log_probabilities(model, asked, found, mask[::2])
    torch.testing.assert_close(shared[::2], own, atol=1e-4, rtol=1e-4)


@every_family
def test_only_the_answer_and_only_adapters_are_learnt(tokenizer: Any, family: str) -> None:
    model, processor = native(tokenizer, family, lora=lora_settings(4, 8, 0.0))
    answered = [{**item, "answer": "happy"} for item in items(family, 2)]
    batch = processor.encode(answered)
    learnt = batch["labels"] != -100
    assert learnt.sum(1).tolist() == [int(learnt[0].sum())] * 2
    assert (batch["labels"][batch["modality_ids"] > 0] == -100).all()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.train()
    model(**processor.inputs(batch)).loss.backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    may = {name for name, p in model.named_parameters() if p.requires_grad}
    assert reached == may
    assert all(name.startswith("language_model.model.language_model.") and ".lora_" in name for name in may)
    assert set(model.saved_names()) == may
    before = model(**processor.inputs(batch)).loss.item()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    for _ in range(15):
        optimizer.zero_grad()
        loss = model(**processor.inputs(batch)).loss
        loss.backward()
        optimizer.step()
    assert model(**processor.inputs(batch)).loss.item() < before - 0.1


def test_an_opened_output_layer_is_saved_too(tokenizer: Any) -> None:
    model, _ = native(tokenizer, "vl", lora=lora_settings(4, 8, 0.0, saved_modules=("lm_head",)))
    assert "language_model.lm_head.weight" in model.saved_names()
    with pytest.raises(ConfigError, match="cannot open embed_tokens"):
        native(tokenizer, "vl", lora=lora_settings(4, saved_modules=("embed_tokens",)))


def test_attention_is_reallocated_and_experts_are_routed(tokenizer: Any) -> None:
    experts = expert_settings(("video",), ("audio",), 4, 8, 3, 0.0)
    model, processor = native(tokenizer, "omni", experts=experts)
    assert len(expert_layers(model)) == 2 * 2
    batch = processor.encode(items("omni", 2))
    asked = processor.asking(batch)
    settings = Reallocation(("video",), ("audio",), rho=1.0, high=0.5, layers=(0, 1))
    with torch.no_grad():
        plain = model(**asked).logits[:, -1]
        with model.reallocating(settings) as state:
            moved = model(**asked).logits[:, -1]
            calls = state.calls
            model.generate(**asked, max_new_tokens=3, do_sample=False, pad_token_id=0, eos_token_id=399)
        assert (calls, state.calls) == (2, 2 + 3 * 2)
        assert not torch.allclose(plain, moved, atol=1e-7)
        torch.testing.assert_close(model(**asked).logits[:, -1], plain)
        found = measure(model, asked, settings)
        assert found.tokens.tolist() == [[6, 10], [2, 6]]
        for made in expert_layers(model):
            torch.nn.init.normal_(made.lora_up, std=0.5)
        changed = model(**asked).logits[:, -1]
        assert not torch.allclose(changed, plain)
        options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": 399, "pad_token_id": 0}
        cached = model.generate(**asked, **options)
        assert torch.equal(cached, model.generate(**asked, **options, use_cache=False))


def test_too_many_frames_are_shrunk_and_told(tokenizer: Any) -> None:
    model, processor = native(tokenizer, "omni")
    processor.budget = TokenBudget(128, 8)
    rng = np.random.default_rng(0)
    text = [{"role": "user", "content": "See <VideoHere> hear <AudioHere>"}]
    media = {"frame": rng.standard_normal((40, 2, 3, 28, 14)), "audio": rng.standard_normal((40, 16))}
    batch = processor.encode([{"messages": text, "media": media}])
    kept = int((batch["modality_ids"] == 1).sum()) // 2
    assert 1 < kept < 40
    assert batch["notes"] == [[f"frame: 40 items cut to {kept} to fit 128 tokens"]]
    assert int((batch["modality_ids"] == 2).sum()) == 10, "sound is kept whole"
    assert batch["input_ids"].shape[1] <= 128 - 8
    assert batch["media"]["frame"][0].shape[1] == kept
    with torch.no_grad():
        assert torch.isfinite(model(**processor.inputs(batch)).logits).all()
    with pytest.raises(ConfigError, match="no room for media"):
        processor.encode([{"messages": text, "media": {**media, "audio": rng.standard_normal((400, 16))}}])


def test_media_that_do_not_fit_are_named(tokenizer: Any) -> None:
    model, processor = native(tokenizer, "vl")
    (item,) = items("vl", 1)
    with pytest.raises(ConfigError, match="there is no frame"):
        processor.encode([{**item, "media": {}}])
    with pytest.raises(ConfigError, match="there is no frame"):
        processor.encode([{**item, "media": {"frame": np.zeros((0, 2, 3, 28, 14))}}])
    for shape in ((3, 3, 28, 14), (3, 2, 3, 28, 15), (3, 2, 1, 28, 14)):
        with pytest.raises(ConfigError, match="multiples of 14"):
            processor.encode([{**item, "media": {"frame": np.zeros(shape)}}])
    with pytest.raises(ConfigError, match=r"14 x 14 and 28 x 14 pixels are in one batch"):
        processor.encode([item, {**item, "media": {"frame": np.zeros((1, 2, 3, 14, 14))}}])
    batch = processor.encode([item])
    places = batch["modality_ids"].clone()
    places[places == 1] = torch.tensor([1, 1, 1, 1, 1, 0])
    with pytest.raises(ModelError, match="row 0 reserves 5 places but has 6 tokens"):
        model(**processor.inputs({**batch, "modality_ids": places}))
    with pytest.raises(ModelError, match="there is no frame"):
        model(**processor.inputs({**batch, "media": {}}))
    assert processor.slots({"frame": []}) == ({}, ["branch video dropped: there is no frame"])
    assert "audio" not in model.config.branch_names


def test_a_folder_is_loaded_and_other_models_are_refused(tokenizer: Any, tmp_path: Path) -> None:
    base, marked = toy_video_model(tokenizer, "vl2.5")
    base.save_pretrained(tmp_path / "video")
    marked.save_pretrained(tmp_path / "video")
    model, again = load_native(str(tmp_path / "video"))
    for key, value in base.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key
    assert NativeLM(model, again).config.vocabulary_digest == NativeLM(base, marked).config.vocabulary_digest
    toy_language_model(len(tokenizer)).save_pretrained(tmp_path / "text")
    with pytest.raises(ModelError, match="is a llama model and no video language model"):
        load_native(str(tmp_path / "text"))
    with pytest.raises(ModelError, match="is a llama model and no video language model"):
        NativeLM(toy_language_model(len(tokenizer)), tokenizer)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_native(str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="no precision"):
        load_native("toy:vl", "float33")
    with pytest.raises(ModelError, match="lacks the marks of video"):
        NativeLM(base, tokenizer)


# Media


def _picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("height", "width"), [(120, 90), (40, 44), (300, 517)])
def test_pixels_are_those_of_the_published_processor(height: int, width: int) -> None:
    """A still picture, for which `transformers` has a processor that needs no torchvision."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    picture = _picture(height, width)
    expected = Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=100_000)(picture, return_tensors="np")
    pairs = video_pairs([picture], most=100_000)
    assert [1, pairs.shape[3] // 14, pairs.shape[4] // 14] == expected["image_grid_thw"][0].tolist()
    patches = pair_patches(torch.from_numpy(pairs), 14, 2).numpy()
    np.testing.assert_allclose(patches, expected["pixel_values"], atol=1e-5)
    assert "torchvision" not in sys.modules


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([14, 28]))
def test_sizes_are_those_of_the_published_rule(height: int, width: int, block: int) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    try:
        expected = smart_resize(height, width, block, 3136, 602112)
    except ValueError:
        with pytest.raises(MediaError, match="too long"):
            fitted_size(height, width, block)
        return
    assert fitted_size(height, width, block) == tuple(expected)


def test_pairs_of_frames() -> None:
    frames = [_picture(56, 56, seed) for seed in range(3)]
    pairs = video_pairs(frames)
    assert pairs.shape == (2, 2, 3, 56, 56)
    assert np.array_equal(pairs[1, 0], pairs[1, 1]), "an odd last frame is doubled"
    assert not np.array_equal(pairs[0, 0], pairs[0, 1])
    with pytest.raises(MediaError, match="no frame"):
        video_pairs([])
    with pytest.raises(MediaError, match="of one size"):
        video_pairs([_picture(56, 56), _picture(28, 56)])
    with pytest.raises(MediaError, match="of one size"):
        video_pairs([np.zeros((56, 56), np.uint8)])


def test_sound_is_that_of_the_published_extractor() -> None:
    from transformers import WhisperFeatureExtractor

    sound = np.random.default_rng(0).standard_normal(16000 * 3).astype("f4") * 0.1
    expected = WhisperFeatureExtractor(feature_size=128)(sound, sampling_rate=16000)["input_features"][0]
    own = MelFrames(3.0)(sound)
    assert own.shape == MelFrames(3.0).shape == (300, 128)
    np.testing.assert_allclose(own[:298], expected.T[:298], atol=1e-4)
    assert MelFrames(5.0)(sound).shape == (500, 128)
    assert MelFrames(1.0, 80)(sound).shape == (100, 80)
    with pytest.raises(MediaError, match="no sample"):
        MelFrames()(np.zeros(0, np.float32))


def test_sound_tokens_are_counted_as_the_encoder_counts(tokenizer: Any) -> None:
    model, _ = native(tokenizer, "omni")
    lengths = torch.arange(3, 200)
    tower = model.language_model.model.audio_tower
    assert torch.equal(sound_tokens(lengths), tower._get_feat_extract_output_lengths(lengths)[1])
    assert [sound_tokens(n) for n in (0, 1, 2, 3, 1000)] == [0, 0, 0, 1, 250]

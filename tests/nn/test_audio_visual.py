"""Clips of a talking face as tokens: geometry, masks, encoders and decoders."""

from __future__ import annotations

import pytest
import torch

from affectus.errors import ConfigError
from affectus.nn import audio_visual as av
from affectus.nn.masking import mask_from_bool

CLIP = av.TalkingClip(size=16, frames=4, patch=8, audio_frames=32, mels=16, audio_patch=8)


def test_published_geometry() -> None:
    clip = av.TalkingClip()
    assert (clip.tokens("video"), clip.tokens("audio"), clip.places) == (800, 128, 100)
    assert (clip.values("video"), clip.values("audio")) == (1536, 256)
    assert {name: spec.shape for name, spec in clip.inputs().items()} == {
        "video": (3, 16, 160, 160),
        "audio": (256, 128),
    }
    with pytest.raises(ValueError, match="modalities"):
        av.TalkingClip(modalities=())


def test_given_masks_are_used_as_they_are() -> None:
    flags = torch.rand(2, CLIP.tokens("audio")).argsort(1) < 3
    mask = CLIP.mask("audio", torch.zeros(2, 1), flags)
    assert torch.equal(mask.as_bool(), flags)
    assert CLIP.mask("video", torch.zeros(2, 1)).hidden.shape == (2, 2 * 3)


def test_targets_and_tokens_are_numbered_alike() -> None:
    """A change in one patch moves one token and one target, of the same number."""
    torch.manual_seed(0)
    for kind, x in (("video", torch.randn(1, 3, 4, 16, 16)), ("audio", torch.randn(1, 1, 32, 16))):
        other = x.clone()
        other[..., 8:, 8:] += torch.randn_like(other[..., 8:, 8:])
        embed = CLIP.embedding(kind, 6)
        moved = (embed(x) - embed(other)).abs().amax(-1) > 1e-4
        target = (CLIP.target(kind, x) - CLIP.target(kind, other)).abs().amax(-1) > 1e-4
        assert torch.equal(moved, target)
        assert 0 < moved.sum() < moved.numel()


def test_shapes_that_do_not_fit_are_refused() -> None:
    assert CLIP.shaped({"audio": torch.zeros(2, 32, 16)}, "audio").shape == (2, 1, 32, 16)
    for kind, shape in (("audio", (2, 16, 32)), ("audio", (2, 3, 32, 16)), ("video", (2, 3, 4, 8, 8))):
        with pytest.raises(ConfigError, match=kind):
            CLIP.shaped({kind: torch.zeros(shape)}, kind)


def test_masked_encoders_compute_what_attention_among_visible_tokens_gives() -> None:
    torch.manual_seed(1)
    encoder = av.Encoder(CLIP.embedding("audio", 8), CLIP.tokens("audio"), 8, 2, 2).eval()
    x = torch.randn(2, 1, 32, 16)
    visible = mask_from_bool(torch.tensor([[True, False] * 4, [False, True] * 4])).visible
    first, last = encoder(x, (0, 1), visible)
    y = (encoder.patch_embed(x) + encoder.positions()).gather(1, visible[..., None].expand(-1, -1, 8))
    y = encoder.blocks[0](y)
    torch.testing.assert_close(first, encoder.norm(y))
    torch.testing.assert_close(last, encoder.norm(encoder.blocks[1](y)))


def test_fusion_reads_the_other_stream_as_it_was() -> None:
    torch.manual_seed(2)
    fusion = av.Fusion(8, 2, 1).eval()
    video, audio = torch.randn(1, 3, 8), torch.randn(1, 2, 8)
    wanted = fusion.norm_audio(fusion.blocks_audio[0](audio, video))
    torch.testing.assert_close(fusion(video, audio)[1], wanted)


def test_decoders_read_taps_deepest_first() -> None:
    torch.manual_seed(3)
    decoder = av.Decoder(8, 2, 5, 1, 2).eval()
    x, taps = torch.randn(1, 6, 8), [torch.randn(1, 2, 8), torch.randn(1, 2, 8)]
    y = decoder.blocks[2](decoder.blocks[1](decoder.blocks[0](x), taps[1]), taps[0])
    torch.testing.assert_close(decoder(x, 4, taps), decoder.head(decoder.norm(y[:, -4:])))
    with pytest.raises(ValueError, match="zip"):
        decoder(x, 4, taps[:1])
    assert av.Decoder(8, 2, 5, 3)(x, 4).shape == (1, 4, 5)


def test_unified_encoder_normalises_each_modality_by_its_own() -> None:
    torch.manual_seed(4)
    encoder = av.UnifiedEncoder(CLIP, 8, 2, 1).eval()
    parts = {"video": torch.randn(2, 3, 4, 16, 16), "audio": torch.randn(2, 1, 32, 16)}
    before = encoder(parts)
    with torch.no_grad():
        encoder.norm_audio.bias.add_(1)
    after = encoder(parts)
    assert torch.equal(before["video"], after["video"])
    torch.testing.assert_close(after["audio"], before["audio"] + 1)
    alone = encoder({"audio": parts["audio"]})
    assert set(alone) == {"audio"}
    assert av.UnifiedEncoder(CLIP, 8, 2, 1, per_modality=False).norm_audio is None

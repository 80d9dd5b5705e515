"""The speech trunk: equal to the reference encoder, published names, positions, pooling."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from affectus.nn.whisper import AttentivePooling, WhisperTrunk, sinusoids

#: Name of a layer in transformers → name in the published checkpoint.
PUBLISHED = {
    "self_attn_layer_norm": "attn_ln",
    "final_layer_norm": "mlp_ln",
    "self_attn.q_proj": "attn.query",
    "self_attn.k_proj": "attn.key",
    "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
}


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    """A random encoder of transformers: 8 mels, 20 positions, width 16, three layers."""
    modeling = pytest.importorskip("transformers.models.whisper.modeling_whisper")
    torch.manual_seed(0)
    config = modeling.WhisperConfig(d_model=16, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=64,
                                    max_source_positions=20, num_mel_bins=8)  # fmt: skip
    encoder = modeling.WhisperEncoder(config).eval()
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, 0, 0.3)
    return encoder


def published(encoder: nn.Module) -> dict[str, Tensor]:
    """The encoder's weights under the names of the published checkpoint, half precision as stored there or not."""
    state = {}
    for name, value in encoder.state_dict().items():
        for ours, theirs in PUBLISHED.items():
            name = name.replace(f".{ours}.", f".{theirs}.")
        name = name.replace("layers.", "blocks.").replace("layer_norm.", "ln_post.")
        state[f"encoder.{name}"] = value
    return state | {"decoder.token_embedding.weight": torch.zeros(2, 2)}


def trunk(blocks: int = 3) -> WhisperTrunk:
    return WhisperTrunk(blocks, width=16, heads=2, mels=8, positions=20).eval()


def test_every_state_equals_the_reference(reference: nn.Module) -> None:
    ours = trunk()
    ours.load_published(published(reference))
    seen: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: seen.append(out[0] if isinstance(out, tuple) else out))
        for layer in reference.layers
    ]
    mel = torch.randn(2, 8, 40)
    with torch.no_grad():
        last = reference(mel).last_hidden_state
        states = ours(mel)
    for hook in hooks:
        hook.remove()
    assert len(seen) == 3
    for found, wanted in zip(states[1:], seen, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(reference.layer_norm(states[-1]), last, rtol=0, atol=1e-5)


def test_positions_equal_the_reference(reference: nn.Module) -> None:
    from transformers.models.whisper.modeling_whisper import sinusoids as wanted

    torch.testing.assert_close(sinusoids(30, 12), wanted(30, 12))
    assert torch.equal(sinusoids(3, 4)[0], torch.tensor([0.0, 0.0, 1.0, 1.0]))


def test_fewer_blocks_are_the_lower_ones(reference: nn.Module) -> None:
    whole, low = trunk(3), trunk(1)
    whole.load_published(published(reference))
    low.load_published(published(reference))
    mel = torch.randn(1, 8, 26)
    with torch.no_grad():
        for a, b in zip(whole(mel)[:2], low(mel), strict=True):
            torch.testing.assert_close(a, b)


def test_half_precision_checkpoints_load_as_float32(reference: nn.Module) -> None:
    ours = trunk()
    ours.load_published({key: value.half() for key, value in published(reference).items()})
    assert {p.dtype for p in ours.parameters()} == {torch.float32}


@pytest.mark.parametrize("key", ["encoder.blocks.1.attn.value.bias", "encoder.blocks.0.mlp.2.weight"])
def test_a_missing_key_is_refused(reference: nn.Module, key: str) -> None:
    state = published(reference)
    del state[key]
    with pytest.raises(RuntimeError, match="Missing key"):
        trunk().load_published(state)


def test_too_few_blocks_and_a_key_bias_are_refused(reference: nn.Module) -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        trunk(4).load_published(published(reference))
    with pytest.raises(RuntimeError, match="Unexpected key"):
        trunk().load_published(published(reference) | {"encoder.blocks.0.attn.key.bias": torch.zeros(16)})


@pytest.mark.parametrize(("frames", "steps"), [(1, 1), (2, 1), (7, 4), (40, 20)])
def test_any_length_up_to_the_positions(frames: int, steps: int) -> None:
    states = trunk()(torch.randn(2, 8, frames))
    assert [tuple(s.shape) for s in states] == [(2, steps, 16)] * 4


def test_longer_than_the_positions_is_an_error() -> None:
    with pytest.raises(RuntimeError):
        trunk()(torch.randn(1, 8, 42))


def test_pooling_known_values() -> None:
    pool = AttentivePooling(2, hidden=4)
    for parameter in pool.parameters():
        nn.init.zeros_(parameter)  # all frames weigh the same
    x = torch.tensor([[[1.0, 5.0], [3.0, 5.0]]])
    wanted = torch.tensor([[2.0, 5.0, (1 + 1e-5) ** 0.5, 1e-5**0.5]])
    torch.testing.assert_close(pool(x), wanted)


def test_pooling_follows_its_weights_and_not_the_order() -> None:
    torch.manual_seed(0)
    pool = AttentivePooling(3)
    x = torch.randn(2, 9, 3)
    torch.testing.assert_close(pool(x), pool(x[:, torch.randperm(9)]))
    for parameter in (*pool.score[1].parameters(), *pool.score[3].parameters()):
        nn.init.zeros_(parameter)
    with torch.no_grad():
        pool.score[1].weight[0, 0] = 50.0  # frames whose first feature is above the others …
        pool.score[3].weight[0, 0] = 30.0  # … get all the weight
    x[:, :, 0] = 10 * torch.tensor([-1.0, 1, -1, -1, 1, -1, -1, -1, 1])
    chosen = x[:, [1, 4, 8]]
    torch.testing.assert_close(pool(x)[:, :3], chosen.mean(1), rtol=1e-4, atol=1e-5)
    spread = (chosen.var(1, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(pool(x)[:, 3:], spread, rtol=1e-3, atol=1e-4)

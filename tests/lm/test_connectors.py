from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from affectus.errors import ConfigError, ModelError
from affectus.lm.compressors import Gate, HybridCompressor, PatchMerger
from affectus.lm.config import Encoder
from affectus.lm.connectors import CONNECTORS, Attention, Connector, Projector, build_connector, register
from affectus.lm.encoders import MediaEncoder, Tokens, build_encoder
from affectus.lm.fusion import GatedMean, PreFusion
from affectus.lm.reducers import QFormer
from affectus.lm.splice import positions, splice


def tokens(rows: int, n: int, width: int, seed: int = 0, grid: tuple[int, int, int] | None = None) -> Tokens:
    values = torch.randn(rows, n, width, generator=torch.Generator().manual_seed(seed))
    return Tokens(values, torch.ones(rows, n, dtype=torch.bool), grid)


def padded(source: Tokens, extra: int) -> Tokens:
    """The same tokens with rubbish behind them that the mask hides."""
    rubbish = torch.full((len(source.values), extra, source.values.shape[2]), 99.0)
    mask = torch.cat([source.mask, torch.zeros(len(source.values), extra, dtype=torch.bool)], 1)
    return Tokens(torch.cat([source.values, rubbish], 1), mask)


CASES: list[tuple[str, list[int], dict[str, Any]]] = [
    ("mean", [16], {}),
    ("attention", [16], {}),
    ("mlp", [16], {}),
    ("mlp", [16], {"pool": 3, "merge": 2, "depth": 1}),
    ("prefusion", [16, 24], {}),
    ("gated_mean", [16, 24], {}),
    ("qformer", [16, 24], {"dim": 16, "heads": 2, "limit": 40}),
]


@pytest.mark.sheet("With tiny stand-ins (visual 16-d, audio 24-d, LLM hidden 32) the three branches return [B,1,32]")
def test_affectgpt_branches_have_the_published_shape() -> None:
    video, audio = tokens(3, 8, 16), tokens(3, 8, 24, 1)
    for connector, sources in [
        (Attention([16], 32), [video]),
        (Attention([24], 32), [audio]),
        (PreFusion([16, 24], 32), [video, audio]),
    ]:
        assert connector(sources).values.shape == (3, 1, 32)


@pytest.mark.sheet("with zero bias in the weight layer, scaling V by 2 scales the pooled video vector by exactly 4")
def test_unsoftmaxed_attention_is_quadratic() -> None:
    branch = Attention([16], 32)
    nn.init.zeros_(branch.weight.bias)
    source = tokens(2, 8, 16)
    torch.testing.assert_close(branch.pool(Tokens(source.values * 2, source.mask)), 4 * branch.pool(source))


@pytest.mark.parametrize(("name", "widths", "options"), CASES)
def test_padding_changes_nothing_and_the_count_is_kept(name: str, widths: list[int], options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    connector = build_connector(name, widths, 32, 3, options).eval()
    sources = [tokens(2, 12, width, i) for i, width in enumerate(widths)]
    out = connector(sources)
    assert out.values.shape[2] == 32
    assert int(out.mask[0].sum()) == connector.count([12] * len(widths))
    if name != "qformer" or len(widths) == 1:
        longer = connector([padded(source, 6) for source in sources])
        torch.testing.assert_close(longer.values[longer.mask], out.values[out.mask])


@pytest.mark.parametrize(("name", "widths", "options"), CASES)
def test_a_row_without_its_source_gives_no_token(name: str, widths: list[int], options: dict[str, Any]) -> None:
    connector = build_connector(name, widths, 32, 2, options).eval()
    sources = [tokens(2, 6, width, i) for i, width in enumerate(widths)]
    for source in sources:
        source.mask[1] = False
    out = connector(sources)
    assert out.mask[0].any()
    assert not out.mask[1].any()
    assert torch.isfinite(out.values).all()
    assert connector.count([0] * len(widths)) == 0


def test_prefusion_by_hand() -> None:
    torch.manual_seed(0)
    fusion = PreFusion([16, 24], 32, tokens=2)
    video, audio = tokens(2, 8, 16), tokens(2, 5, 24, 1)
    v, u = fusion.embed[0](video.values.mean(1)), fusion.embed[1](audio.values.mean(1))
    w = fusion.weigh(fusion.mix(torch.cat([v, u], 1)))
    token = fusion.project(w[:, :1] * v + w[:, 1:] * u)
    out = fusion([video, audio])
    torch.testing.assert_close(out.values, token.unsqueeze(1).repeat(1, 2, 1))
    assert fusion.trace["weights"].shape == (2, 2)


@pytest.mark.learning
@pytest.mark.sheet("Pre-fusion learns XOR of an audio and a video bit with a linear read-out, separate tokens do not")
def test_prefusion_learns_what_separate_tokens_cannot() -> None:
    def accuracy(fused: bool, seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        bits = torch.randint(0, 2, (1500, 2), generator=generator)
        ways = torch.randn(2, 24, generator=generator)
        signs = (bits * 2 - 1).float()
        video = signs[:, :1, None] * ways[0, :16] + 0.3 * torch.randn(1500, 4, 16, generator=generator)
        audio = signs[:, 1:, None] * ways[1] + 0.3 * torch.randn(1500, 4, 24, generator=generator)
        pair = [Tokens(x, torch.ones(1500, 4, dtype=torch.bool)) for x in (video, audio)]
        label = (bits[:, 0] ^ bits[:, 1]).float()
        torch.manual_seed(seed)
        parts: nn.Module = (
            PreFusion([16, 24], 32) if fused else nn.ModuleList([Attention([16], 32), Attention([24], 32)])
        )
        head = nn.Linear(32 if fused else 64, 1)
        optimiser = torch.optim.Adam([*parts.parameters(), *head.parameters()], 0.01)

        def read(rows: slice) -> Tensor:
            own = [Tokens(s.values[rows], s.mask[rows]) for s in pair]
            if fused:
                return head(parts(own).values[:, 0])[:, 0]
            return head(torch.cat([p([s]).values[:, 0] for p, s in zip(parts, own, strict=True)], 1))[:, 0]  # type: ignore[arg-type]

        for _ in range(150):
            optimiser.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(read(slice(0, 1000)), label[:1000]).backward()
            optimiser.step()
        return float(((read(slice(1000, 1500)) > 0).float() == label[1000:]).float().mean())

    assert min(accuracy(True, seed) for seed in range(3)) > 0.9
    assert max(accuracy(False, seed) for seed in range(3)) < 0.6


@pytest.mark.sheet(
    "average pool of a constant Whisper state sequence equals the constant; audio token count = 500 for 30 s"
)
def test_projector_pools_and_counts_as_published() -> None:
    branch = Projector([20], 12, pool=3)
    assert branch.count([1500]) == 500
    assert sum(p.numel() for p in branch.parameters()) == 20 * 12 + 12 + 12 * 12 + 12
    constant = Tokens(torch.full((1, 9, 20), 2.5), torch.ones(1, 9, dtype=torch.bool))
    torch.testing.assert_close(branch([constant]).values, branch.project(torch.full((1, 3, 20), 2.5)))
    with pytest.raises(ModelError, match="fewer than the 3"):
        branch([tokens(1, 2, 20)])


def test_projector_pools_patch_grids() -> None:
    branch = Projector([8], 12, grid=2)
    source = tokens(2, 3 * 16, 8, grid=(3, 4, 4))
    out = branch([source])
    assert out.values.shape == (2, 12, 12)
    assert branch.count([48], [(3, 4, 4)]) == 12
    first = source.values[0, [0, 1, 4, 5]].mean(0)
    torch.testing.assert_close(out.values[0, 0], branch.project(first))
    with pytest.raises(ModelError, match="no patch grid"):
        branch([tokens(1, 16, 8)])


@pytest.mark.sheet("Q-Former block: input [B, 8*32, 768] -> 32 tokens; position embedding added per frame")
def test_qformer_positions_per_frame() -> None:
    torch.manual_seed(0)
    former = QFormer([16], 32, tokens=4, dim=16, heads=2, limit=8, per_frame=True).eval()
    source = tokens(1, 8 * 4, 16, grid=(8, 2, 2))
    assert former([source]).values.shape == (1, 4, 32)
    swapped = source.values.clone()
    swapped[0, [0, 3]] = source.values[0, [3, 0]]
    torch.testing.assert_close(former([Tokens(swapped, source.mask, source.grid)]).values, former([source]).values)
    with torch.no_grad():
        former.position.weight.normal_()
    swapped[0, [0, 31]] = swapped[0, [31, 0]]
    assert not torch.allclose(former([Tokens(swapped, source.mask, source.grid)]).values, former([source]).values)
    with pytest.raises(ModelError, match="more than its 8"):
        former([tokens(1, 36, 16, grid=(9, 2, 2))])


@pytest.mark.sheet("t*h*w = 4*4*8 -> 128 patches -> 32 fused tokens of 64; gate rows sum to 1; g=(1,0) = general path")
def test_hybrid_compressor() -> None:
    torch.manual_seed(0)
    compressor = HybridCompressor([32], 64, hidden=(16, 8))
    source = tokens(2, 128, 32, grid=(4, 4, 8))
    out = compressor([source])
    assert out.values.shape == (2, 32, 64)
    assert compressor.count([128]) == 32
    assert compressor.shares is not None
    torch.testing.assert_close(compressor.shares.sum(1), torch.ones(2))
    compressor.force = (1.0, 0.0)
    grouped, _ = compressor._grouped(source)
    assert torch.equal(compressor([source]).values, compressor.general(grouped))
    places = torch.arange(128.0).view(1, 128, 1).expand(1, 128, 32)
    order, _ = compressor._grouped(Tokens(places, torch.ones(1, 128, dtype=torch.bool), (4, 4, 8)))
    assert order[0, :4, 0].tolist() == [0, 1, 8, 9]
    with pytest.raises(ModelError, match="cannot be merged"):
        compressor([tokens(1, 15, 32, grid=(1, 3, 5))])
    with pytest.raises(ModelError, match="no patch grid"):
        compressor([tokens(1, 16, 32)])


@pytest.mark.sheet(
    "Initialising emotioncompressor as a copy of generalcompressor makes the output independent of the gate"
)
def test_equal_experts_do_not_need_a_gate() -> None:
    compressor = HybridCompressor([32], 64, hidden=(16, 8), grouped=True)
    compressor.emotion.load_state_dict(compressor.general.state_dict())
    source = tokens(2, 16, 32)
    free = compressor([source]).values
    compressor.force = (0.2, 0.8)
    torch.testing.assert_close(compressor([source]).values, free)
    assert isinstance(compressor.general, PatchMerger)
    assert Gate(32, 3, 4)(torch.zeros(2, 32)).shape == (2, 3)


def test_gated_mean_knows_what_is_absent() -> None:
    connector = GatedMean([16, 24], 32)
    video, audio = tokens(2, 4, 16), tokens(2, 4, 24)
    audio.mask[1] = False
    out = connector([video, audio], Tokens(torch.randn(2, 3, 32), torch.ones(2, 3, dtype=torch.bool)))
    assert out.mask.all()
    assert connector.trace["gate"][1].tolist() == [1.0, 0.0]


def test_registry() -> None:
    with pytest.raises(ConfigError, match="no such connector"):
        build_connector("magic", [16], 32, 1, {})
    with pytest.raises(ConfigError, match="unexpected keyword"):
        build_connector("mean", [16], 32, 1, {"magic": 1})
    with pytest.raises(ConfigError, match="takes 1 sources"):
        build_connector("mean", [16, 16], 32, 1, {})

    @register("first_token")
    class FirstToken(Connector):
        def forward(self, sources: Any, question: Any = None) -> Tokens:
            return self.fixed(sources[0].values[:, 0], sources)

    try:
        assert build_connector("first_token", [32], 32, 1, {})([tokens(1, 3, 32)]).values.shape == (1, 1, 32)
    finally:
        CONNECTORS.pop("first_token")


def test_encoders_skip_padding_and_stay_frozen() -> None:
    seen: list[int] = []

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map, self.drop = nn.Linear(6, 5), nn.Dropout(0.9)

        def forward(self, items: Tensor) -> Tensor:
            seen.append(len(items))
            return self.drop(self.map(items)).unsqueeze(1).repeat(1, 4, 1)

    encoder = build_encoder("video", Encoder(5, "module"), Net())
    encoder.train()
    mask = torch.tensor([[True, True, False], [True, False, False]])
    out = encoder(torch.randn(2, 3, 6), mask)
    assert seen == [3]
    assert out.values.shape == (2, 12, 5)
    assert out.grid == (3, 2, 2)
    assert out.mask.sum(1).tolist() == [8, 4]
    assert not out.values.requires_grad
    assert encoder.module is not None
    assert not encoder.module.training
    opened = build_encoder("video", Encoder(5, "module", train=True, pool="mean"), Net()).train()
    assert opened(torch.randn(2, 3, 6), mask).values.requires_grad


def test_encoders_of_transformers() -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel, HubertConfig, HubertModel

    torch.manual_seed(0)
    clip = CLIPVisionModel(
        CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8,
                         patch_size=4)
    )  # fmt: skip
    frames, mask = torch.randn(2, 3, 3, 8, 8), torch.tensor([[True] * 3, [True, False, False]])
    pooled = build_encoder("video", Encoder(16, "vision", output="pooler_output"), clip)(frames, mask)
    assert pooled.values.shape == (2, 3, 16)
    patches = build_encoder("video", Encoder(16, "vision", drop_first=True), clip)(frames, mask)
    assert patches.grid == (3, 2, 2)
    hubert = HubertModel(
        HubertConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16,
                     conv_dim=(8, 8), conv_kernel=(10, 4), conv_stride=(5, 2), num_conv_pos_embeddings=4,
                     num_conv_pos_embedding_groups=2)
    )  # fmt: skip
    spec = Encoder(16, "audio", layers=2, pool="mean")
    clips = torch.randn(2, 3, 400)
    out = build_encoder("audio", spec, hubert)(clips, mask)
    assert out.values.shape == (2, 3, 16)
    states = hubert.eval()(clips[0], output_hidden_states=True).hidden_states
    torch.testing.assert_close(out.values[0], torch.stack(states[-2:]).mean(0).mean(1).detach())


def test_encoder_mistakes_are_named() -> None:
    with pytest.raises(ModelError, match=r"\(B, T, 5\) is needed"):
        MediaEncoder(Encoder(5), None)(torch.zeros(1, 2, 4), torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(ConfigError, match="is a module of yours"):
        build_encoder("video", Encoder(5, "module"))
    with pytest.raises(ConfigError, match="has no source"):
        build_encoder("video", Encoder(5, "vision"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        build_encoder("video", Encoder(5, "vision", source="/nowhere/at/all"))
    with pytest.raises(ModelError, match="width 6, the configuration says 5"):
        build_encoder("v", Encoder(5, "module"), nn.Identity())(
            torch.zeros(1, 2, 6), torch.ones(1, 2, dtype=torch.bool)
        )


@pytest.mark.sheet("embeddings at placeholder positions equal branch outputs, all others the table; a mismatch raises")
def test_splice() -> None:
    embeddings = torch.randn(2, 6, 4)
    places = torch.tensor([[0, 1, 1, 0, 2, 0], [0, 0, 0, 2, 0, 0]])
    one, two = tokens(2, 3, 4), tokens(2, 1, 4, 1)
    one.mask[:, 2] = False
    out = splice(embeddings, places, {1: ("video", one), 2: ("audio", two)})
    assert torch.equal(out[0, 1:3], one.values[0, :2])
    assert torch.equal(out[0, 4], two.values[0, 0])
    assert torch.equal(out[1, 3], two.values[1, 0])
    assert torch.equal(out[places == 0], embeddings[places == 0])
    with pytest.raises(ModelError, match="branch video: row 0 reserves 2 places but has 3"):
        splice(embeddings, places, {1: ("video", tokens(2, 3, 4))})
    assert positions(torch.tensor([[0, 0, 1, 1]])).tolist() == [[1, 1, 0, 1]]

"""MFN and Graph-MFN against loops written out, padding and missing modalities, and what the memory teaches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from affectus.nn.memory_fusion import DeltaMemoryAttention, FusionGraph, GatedMemory, MemoryFusion, common_steps

EVERYBODY = torch.ones(4, 3, dtype=torch.bool)


def steps(seed: int = 0, lengths: Sequence[int] = (6, 6, 6)) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(4, length, size, generator=draw) for length, size in zip(lengths, (5, 3, 4), strict=True)]


def fusion(graph: bool = False, padded: bool = False) -> MemoryFusion:
    torch.manual_seed(1)
    return MemoryFusion((5, 3, 4), 6, 7, 0.0, graph, padded).eval()


def dense(net: nn.Sequential, x: np.ndarray) -> np.ndarray:
    """Linear, ReLU, linear in numpy; dropout between them is off."""
    first, second = net[0], net[3]
    hidden = np.maximum(first.weight.detach().numpy() @ x + first.bias.detach().numpy(), 0)  # type: ignore[operator]
    return second.weight.detach().numpy() @ hidden + second.bias.detach().numpy()  # type: ignore[operator]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def written_out(net: MemoryFusion, item: list[np.ndarray]) -> np.ndarray:
    """The feature of one item without padding, cell by cell: gates of the LSTMs in the order in, forget, new, out."""
    count, width = len(item), net.hidden
    hidden, cells, memory = np.zeros((count, width)), np.zeros((count, width)), np.zeros(net.memory)
    for step in range(len(item[0])):
        before = cells.copy()
        for m, cell in enumerate(net.cells):
            parts = [p.detach().numpy() for p in cell.parameters()]
            gates = parts[0] @ item[m][step] + parts[2] + parts[1] @ hidden[m] + parts[3]
            enter, forget, new, out = np.split(gates, 4)
            cells[m] = sigmoid(forget) * cells[m] + sigmoid(enter) * np.tanh(new)
            hidden[m] = sigmoid(out) * np.tanh(cells[m])
        both = np.concatenate([before.ravel(), cells.ravel()])
        raw = dense(net.notice.weigh, both)  # type: ignore[arg-type]
        noticed = np.exp(raw) / np.exp(raw).sum() * both
        seen = np.concatenate([noticed, memory])
        proposal = np.tanh(dense(net.remember.propose, noticed))
        memory = sigmoid(dense(net.remember.keep, seen)) * memory + sigmoid(dense(net.remember.take, seen)) * proposal
    return dense(net.join, np.concatenate([hidden.ravel(), memory]))


def test_mfn_is_the_loop_over_steps() -> None:
    net, x = fusion(), steps()
    feature, losses = net(x, EVERYBODY)
    assert feature.shape == (4, net.width) == (4, 3)
    assert losses == {}
    wanted = np.stack([written_out(net, [rows[i].numpy() for rows in x]) for i in range(4)])
    np.testing.assert_allclose(feature.detach().numpy(), wanted, atol=1e-5)


def test_attention_shares_one_whole_among_all_cells() -> None:
    torch.manual_seed(0)
    net = DeltaMemoryAttention(6, 3, 0.0).eval()
    ones = [torch.ones(2, 6)] * 3
    noticed = net(ones, ones, EVERYBODY[:2])
    assert noticed.shape == (2, 36)
    torch.testing.assert_close(noticed.sum(1), torch.ones(2))
    nn.init.zeros_(net.weigh[3].weight)
    nn.init.zeros_(net.weigh[3].bias)
    cells = [torch.randn(2, 6) for _ in range(6)]
    torch.testing.assert_close(net(cells[:3], cells[3:], EVERYBODY[:2]), torch.cat(cells, 1) / 36)


def test_closed_gates_keep_the_memory_and_open_ones_take_the_proposal() -> None:
    torch.manual_seed(0)
    net, noticed, memory = GatedMemory(5, 6, 7, 0.0).eval(), torch.randn(3, 5), torch.randn(3, 7)
    for gate, bias in ((net.keep, 40.0), (net.take, -40.0)):
        nn.init.zeros_(gate[3].weight)
        nn.init.constant_(gate[3].bias, bias)
    torch.testing.assert_close(net(noticed, memory), memory)
    nn.init.constant_(net.keep[3].bias, -40.0)
    nn.init.constant_(net.take[3].bias, 40.0)
    torch.testing.assert_close(net(noticed, memory), net.propose(noticed).tanh())


@pytest.mark.parametrize(("count", "edges"), [(2, 2 + 3), (3, 6 + 6 + 7), (4, 12 + 4 * 6 + 14 + 15)])
def test_edges_lead_from_every_part_into_every_larger_one(count: int, edges: int) -> None:
    graph = FusionGraph(4, count, 0.0)
    assert len(graph.edges) == edges == graph.efficacy[3].out_features
    assert all(set(part) < set(whole) or whole == () for part, whole in graph.edges)
    assert len(set(graph.edges)) == edges


def test_graph_of_three_is_written_out() -> None:
    torch.manual_seed(2)
    graph, cells = FusionGraph(4, 3, 0.0).eval(), [torch.randn(1, 4) for _ in range(6)]
    out, strength = graph.read(cells[:3], cells[3:], EVERYBODY[:1])
    single = [
        np.maximum(net.weight.detach().numpy() @ torch.cat([cells[m], cells[3 + m]], 1)[0].numpy()
                   + net.bias.detach().numpy(), 0)  # type: ignore[operator]
        for m, net in enumerate(graph.singles)
    ]  # fmt: skip
    alpha = sigmoid(dense(graph.efficacy, np.concatenate(single)))
    np.testing.assert_allclose(strength[0].detach().numpy(), alpha, atol=1e-6)
    a, b, c = single
    pairs = [dense(graph.networks[k], np.concatenate([alpha[2 * k] * x, alpha[2 * k + 1] * y]))  # type: ignore[arg-type]
             for k, (x, y) in enumerate([(a, b), (a, c), (b, c)])]  # fmt: skip
    parts = [a, b, c, *pairs]
    whole = dense(graph.networks[3], np.concatenate([w * x for w, x in zip(alpha[6:12], parts, strict=True)]))  # type: ignore[arg-type]
    told = np.concatenate([w * x for w, x in zip(alpha[12:], [*parts, whole], strict=True)])
    np.testing.assert_allclose(out[0].detach().numpy(), dense(graph.networks[4], told), atol=1e-6)  # type: ignore[arg-type]


def test_an_edge_without_efficacy_carries_nothing() -> None:
    """With every efficacy at zero the output is that of empty vertices, whatever the modalities say."""
    torch.manual_seed(2)
    graph = FusionGraph(4, 3, 0.0).eval()
    nn.init.zeros_(graph.efficacy[3].weight)
    nn.init.constant_(graph.efficacy[3].bias, -80.0)
    cells = [torch.randn(2, 4) for _ in range(6)]
    torch.testing.assert_close(graph(cells[:3], cells[3:], EVERYBODY[:2])[0], graph.networks[-1](torch.zeros(28)))


@pytest.mark.parametrize("graph", [False, True])
def test_padding_and_batch_mates_change_nothing(graph: bool) -> None:
    net, x = fusion(graph), steps()
    for rows in x:
        rows[1, :3] = 0  # a shorter utterance among the others
    feature = net(x, EVERYBODY)[0]
    longer = [torch.cat([torch.zeros(4, 4, rows.shape[2]), rows], 1) for rows in x]
    torch.testing.assert_close(net(longer, EVERYBODY)[0], feature)
    alone = net([rows[1:2, 3:] for rows in x], EVERYBODY[:1])[0]
    torch.testing.assert_close(alone, feature[1:2])
    loose = fusion(graph, padded=True)
    assert (loose(longer, EVERYBODY)[0] - loose(x, EVERYBODY)[0]).abs().max() > 1e-4


@pytest.mark.parametrize("graph", [False, True])
def test_a_missing_modality_says_nothing(graph: bool) -> None:
    net, x = fusion(graph), steps()
    without = EVERYBODY & torch.tensor([True, False, True])
    feature = net(x, without)[0]
    torch.testing.assert_close(net([x[0], 9 * x[1] + 1, x[2]], without)[0], feature, atol=0, rtol=0)
    torch.testing.assert_close(net([x[0], torch.zeros(4, 1, 3), x[2]], without)[0], feature, atol=0, rtol=0)
    assert (net(x, EVERYBODY)[0] - feature).abs().max() > 1e-3
    hidden, _ = net.states(x, without)
    assert not hidden[1].any()
    nothing, memory = net.states(x, torch.zeros_like(EVERYBODY))
    assert not memory.any()
    assert not torch.stack(nothing).any()


def test_shorter_sequences_end_together() -> None:
    x, real = common_steps(steps(lengths=(6, 2, 6)), EVERYBODY)
    assert [rows.shape[1] for rows in x] == [6, 6, 6]
    assert real[0].tolist() == [[True, False, True]] * 4 + [[True] * 3] * 2


@pytest.mark.parametrize("graph", [False, True])
def test_every_parameter_learns(graph: bool) -> None:
    net = fusion(graph)
    net(steps(), EVERYBODY)[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def meetings(count: int, seed: int) -> tuple[list[Tensor], Tensor]:
    """Two views that change sign twice each in eight steps; the class says whether they ever do so at the same step."""
    random = np.random.default_rng(seed)
    label = np.arange(count) % 2
    changed = np.zeros((2, count, 8), bool)
    for i, meet in enumerate(label):
        times = random.permutation(np.arange(1, 8))[:4]
        changed[0, i, times[:2]] = True
        changed[1, i, [times[0] if meet else times[2], times[3]]] = True
    sign = random.choice([-1.0, 1.0], (2, count, 1)) * np.where(changed.cumsum(2) % 2, -1, 1)
    x = sign[..., None] + 0.1 * random.normal(size=(2, count, 8, 2))
    return [torch.from_numpy(view.astype("f4")) for view in x], torch.from_numpy(label)


def share_right(kind: str, seed: int) -> float:
    torch.manual_seed(seed)
    net = MemoryFusion((2, 2), 16, 8, 0.0)
    if kind == "no memory":
        net.remember.forward = lambda noticed, memory: memory  # type: ignore[method-assign]
    if kind == "no delta":
        whole = net.notice.forward
        net.notice.forward = lambda before, now, there: whole([0 * c for c in before], now, there)  # type: ignore[method-assign]
    head, there = nn.Linear(net.width, 2), torch.ones(800, 2, dtype=torch.bool)
    (x, label), (fresh, wanted) = meetings(800, seed), meetings(400, seed + 100)
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], 1e-2)
    for _ in range(40):
        for part in torch.randperm(800).split(100):
            optimizer.zero_grad()
            logits = head(net([view[part] for view in x], there[part])[0])
            nn.functional.cross_entropy(logits, label[part]).backward()
            optimizer.step()
    with torch.no_grad():
        return float((head(net(fresh, there[:400])[0]).argmax(1) == wanted).float().mean())


@pytest.mark.learning
@pytest.mark.slow
def test_changes_of_two_views_at_once_need_a_memory_of_two_steps() -> None:
    """Against the two ablations of the paper: LSTMs without the memory, and a memory that sees the present alone."""
    found = {kind: [share_right(kind, seed) for seed in range(3)] for kind in ("whole", "no memory", "no delta")}
    for kind in ("no memory", "no delta"):
        assert np.mean(found["whole"]) > np.mean(found[kind]) + 0.1, found
    assert min(found["whole"]) > max(found["no memory"]), found

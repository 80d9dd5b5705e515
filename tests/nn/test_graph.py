"""Label graphs: ranks against SciPy, adjacency by hand, propagation and convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affectus.errors import ConfigError
from affectus.nn.graph import GraphConvolution, label_correlation, label_graph, propagation


def test_correlation_equals_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 80)
    values = np.round(random.normal(size=(80, 2)) + labels[:, None] * [0.5, -0.2], 1)
    found = label_correlation(labels, values, 4)
    expected = stats.spearmanr(np.column_stack([np.eye(4)[labels], values])).statistic
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_class_that_never_occurs_correlates_with_nothing() -> None:
    found = label_correlation(np.array([0, 0, 1]), np.array([[0.1], [0.2], [0.3]]), 3)
    assert (found[2, :2] == 0).all()
    assert found[2, 2] == 1


@pytest.mark.parametrize(
    ("labels", "values"), [([0, 1], [[0.0]]), ([0, 5], [[0.0], [1.0]]), ([0, 1], [[np.nan], [1.0]]), ([0], [[1.0]])]
)
def test_bad_labels_are_refused(labels: list[int], values: list[list[float]]) -> None:
    with pytest.raises(ConfigError):
        label_correlation(np.array(labels), np.array(values), 2)


@given(st.integers(0, 10_000))
def test_rows_of_a_label_graph_sum_to_one(seed: int) -> None:
    rho = np.random.default_rng(seed).uniform(-0.4, 0.4, (6, 6))
    graph = label_graph(rho, 4)
    np.testing.assert_allclose(graph.sum(1), 1)
    assert (graph[:4, :4] == np.diag(np.diag(graph)[:4])).all()


def test_a_node_without_neighbours_keeps_itself() -> None:
    np.testing.assert_array_equal(label_graph(np.eye(3), 2), np.eye(3))


def test_propagation_transposes_rows_that_sum_to_one_and_scales_others() -> None:
    graph = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]])
    torch.testing.assert_close(propagation(graph), graph.T, rtol=0, atol=1e-7)
    torch.testing.assert_close(propagation(4 * graph), graph.T, rtol=0, atol=1e-6)


def test_a_convolution_mixes_by_rows() -> None:
    layer = GraphConvolution(2, 3)
    nodes = torch.randn(3, 2)
    graph = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0, 2.0]])
    out = layer(nodes, graph)
    torch.testing.assert_close(out[1], 0.5 * (nodes[0] + nodes[1]) @ layer.weight)
    assert layer.weight.abs().max() <= 3**-0.5

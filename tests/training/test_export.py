"""Export: equal to the module, half the size with float16 weights, a quarter with int8 ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from affectus.training.export import (
    byte_table,
    byte_weights,
    export_onnx,
    halve_weights,
    largest_difference,
    quantise_weights,
)

onnx = pytest.importorskip("onnx")


class Words(nn.Module):
    """Embedding, mean, two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(200, 64)
        self.body = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 5))

    def forward(self, ids: Tensor) -> Tensor:
        return self.body(self.table(ids)).mean(1)


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Words, Path]:
    torch.manual_seed(0)
    model = Words().eval()
    axes = {"ids": {0: "texts", 1: "tokens"}, "outputs": {0: "texts"}}
    export_onnx(model, {"ids": torch.ones(2, 3, dtype=torch.long)}, "outputs", axes, tmp_path / "model.onnx")
    return model, tmp_path / "model.onnx"


def batches() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [{"ids": torch.randint(0, 200, shape, generator=generator)} for shape in ((1, 1), (3, 7), (9, 4))]


def test_the_file_equals_the_module_for_any_batch(exported: tuple[Words, Path]) -> None:
    model, path = exported
    graph = onnx.load(str(path)).graph
    assert [i.name for i in graph.input] == ["ids"]
    assert [o.name for o in graph.output] == ["outputs"]
    assert largest_difference(model, path, batches()) < 1e-5


def test_largest_difference_is_the_largest(exported: tuple[Words, Path]) -> None:
    model, path = exported
    with torch.no_grad():
        model.body[2].bias[3] += 0.25
        model.body[2].bias[1] -= 0.5
    assert largest_difference(model, path, batches()) == pytest.approx(0.5, abs=1e-4)
    assert largest_difference(model, path, []) == 0.0


def test_halved_weights_keep_the_outputs(exported: tuple[Words, Path]) -> None:
    model, path = exported
    size = path.stat().st_size
    halve_weights(path)
    assert path.stat().st_size < 0.6 * size
    assert 0 < largest_difference(model, path, batches()) < 1e-3
    kinds = {np.dtype(onnx.numpy_helper.to_array(item).dtype).name for item in onnx.load(str(path)).graph.initializer}
    assert "float16" in kinds


def test_halving_leaves_small_and_huge_weights_alone(exported: tuple[Words, Path]) -> None:
    model, path = exported
    with torch.no_grad():
        model.table.weight[0, 0] = 1e5  # beyond float16
    axes = {"ids": {0: "texts", 1: "tokens"}, "outputs": {0: "texts"}}
    export_onnx(model, {"ids": torch.ones(2, 3, dtype=torch.long)}, "outputs", axes, path)
    halve_weights(path, smallest=1000)
    halves = [item for item in onnx.load(str(path)).graph.initializer if item.data_type == onnx.TensorProto.FLOAT16]
    assert [tuple(item.dims) for item in halves] == [(64, 128)]


def test_quantised_weights_stay_within_tolerance(exported: tuple[Words, Path]) -> None:
    model, path = exported
    size = path.stat().st_size
    with torch.no_grad():
        spread = float(torch.cat([model(batch["ids"]) for batch in batches()]).std())
    quantise_weights(path)
    assert path.stat().st_size < 0.45 * size
    difference = largest_difference(model, path, batches())
    assert 0 < difference < 0.2 * spread
    assert not path.with_suffix(".int8").exists()


def test_nodes_left_out_of_the_quantisation_stay_exact(exported: tuple[Words, Path]) -> None:
    model, path = exported
    names = [node.name for node in onnx.load(str(path)).graph.node if node.op_type in ("MatMul", "Gemm", "Gather")]
    quantise_weights(path, leave=names)
    assert largest_difference(model, path, batches()) < 1e-5


def test_a_table_of_bytes_keeps_each_column_to_half_a_step(exported: tuple[Words, Path]) -> None:
    model, path = exported
    with torch.no_grad():
        model.table.weight[:, 7] *= 100  # columns of very different range
    axes = {"ids": {0: "texts", 1: "tokens"}, "outputs": {0: "texts"}}
    export_onnx(model, {"ids": torch.ones(2, 3, dtype=torch.long)}, "outputs", axes, path)
    before = path.stat().st_size
    byte_table(path, "table.weight")
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(str(path)).graph.initializer}
    restored = stored["table.weight_levels"] * stored["table.weight_step"]
    wanted = model.table.weight.detach().numpy()
    assert (np.abs(restored - wanted) <= stored["table.weight_step"] / 2 + 1e-7).all()
    assert before - path.stat().st_size > 0.7 * wanted.nbytes
    with torch.no_grad():
        model.table.weight.copy_(torch.from_numpy(restored))
    assert largest_difference(model, path, batches()) < 1e-3


class Sounds(nn.Module):
    """A convolution, a product with a constant and a layer: all three ways in which weights occur."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(40, 48, 3, padding=1)
        self.mix = nn.Parameter(torch.randn(48, 96) / 7)
        self.out = nn.Linear(96, 60)
        with torch.no_grad():  # outputs of very different size: one scale for all of them would lose the small ones
            self.out.weight *= torch.logspace(-3, 0, 60)[:, None]

    def forward(self, mel: Tensor) -> Tensor:
        return self.out((self.conv(mel).transpose(1, 2) @ self.mix).mean(1))


def test_byte_weights_are_a_quarter_and_keep_every_output(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, path = Sounds().eval(), tmp_path / "model.onnx"
    axes = {"mel": {0: "clips", 2: "frames"}, "outputs": {0: "clips"}}
    export_onnx(model, {"mel": torch.zeros(2, 40, 9)}, "outputs", axes, path)
    before = path.stat().st_size
    byte_weights(path)
    assert path.stat().st_size < 0.4 * before
    weights = {item.name: item for item in onnx.load(str(path)).graph.initializer}
    kept = [
        name for name, item in weights.items() if item.data_type == onnx.TensorProto.FLOAT and np.prod(item.dims) > 4000
    ]
    assert not kept
    mel = torch.randn(100, 40, 5)
    import onnxruntime

    found = onnxruntime.InferenceSession(str(path)).run(None, {"mel": mel.numpy()})[0]
    with torch.no_grad():
        wanted = model(mel).numpy()
    scale = np.abs(wanted).max(0)
    np.testing.assert_array_less(np.abs(found - wanted).max(0), 0.02 * scale)
    # What is left in full precision can still be halved.
    halve_weights(path, smallest=1)
    again = onnxruntime.InferenceSession(str(path)).run(None, {"mel": mel.numpy()})[0]
    np.testing.assert_array_less(np.abs(again - wanted).max(0), 0.02 * scale)

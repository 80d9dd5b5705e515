"""The face trunk: parity with the public file, its names, and the restoring of quantised weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from affectus.nn.mobilenet import FaceMobileNet, read_onnx_weights

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
KINDS = {
    "0.weight": "conv2d_weight",
    "1.weight": "batchnorm_gamma",
    "1.bias": "batchnorm_beta",
    "1.running_mean": "batchnorm_moving_mean",
    "1.running_var": "batchnorm_moving_var",
    "2.weight": "relu_gamma",
}


def tiny(seed: int = 0) -> FaceMobileNet:
    torch.manual_seed(seed)
    return FaceMobileNet(8, ((16, 1), (24, 2))).eval()


def published(net: FaceMobileNet) -> dict[str, np.ndarray]:
    """The weights under the names of the public file, which also holds an identity embedding."""
    arrays = {"fc1_weight": np.zeros((4, 4)), "bn1_gamma": np.ones(4), "data": np.zeros(1)}
    for key, value in net.state_dict().items():
        place, _, kind = key.rpartition(".")
        place, _, unit = place.rpartition(".")
        if kind == "num_batches_tracked":
            continue
        name = "conv_1"
        if place != "stem":
            _, block, half = place.split(".")
            name = f"conv_{int(block) + 2}" + ("_dw" if half == "0" else "")
        array = value.numpy()
        slope = unit == "2"
        arrays[f"{name}_{KINDS[f'{unit}.{kind}']}" + "_reshaped" * slope] = array[:, None, None] if slope else array
    return arrays


def test_shapes() -> None:
    net = tiny()
    maps = net.maps(torch.randn(2, 3, 20, 14))
    assert [tuple(m.shape) for m in maps] == [(2, 16, 20, 14), (2, 24, 10, 7)]
    assert net(torch.randn(2, 3, 20, 14)).shape == (2, net.width) == (2, 24)


def test_published_names_give_the_same_outputs() -> None:
    net, other = tiny(0), tiny(1)
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert not torch.allclose(net(images), other(images))
        other.load_published(published(net))
        torch.testing.assert_close(net(images), other(images))


def test_missing_and_surplus_layers_are_refused() -> None:
    arrays = published(tiny())
    short = {key: value for key, value in arrays.items() if not key.startswith("conv_3_dw")}
    with pytest.raises(RuntimeError, match="Missing key"):
        tiny().load_published(short)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        tiny().load_published(arrays | {"conv_9_conv2d_weight": np.zeros((4, 4, 1, 1))})


def write(path: Path, scale: np.ndarray, zero: np.ndarray | None, **settings: int) -> np.ndarray:
    """A file with one quantised (4, 6) weight, reshaped to (2, 2, 6); returns the levels."""
    levels = np.random.default_rng(0).integers(-128, 128, (4, 6)).astype(np.int8)
    stored = {"q": levels, "s": scale, "shape": np.array([2, 2, 6])} | ({} if zero is None else {"z": zero})
    make = onnx.helper.make_node
    nodes = [
        make("DequantizeLinear", ["q", "s"] + ["z"] * (zero is not None), ["w"], **settings),
        make("Reshape", ["w", "shape"], ["out"]),
        make("DequantizeLinear", ["x", "one"], ["activation"]),  # of an input: to be left alone
    ]
    stored["one"] = np.array(1, np.float32)
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "quantised",
        [tensor("x", onnx.TensorProto.INT8, [3])],
        [tensor("out", onnx.TensorProto.FLOAT, [2, 2, 6]), tensor("activation", onnx.TensorProto.FLOAT, [3])],
        [onnx.numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10), str(path))
    return levels


@pytest.mark.parametrize(
    ("scale", "zero", "settings"),
    [
        (np.array(0.5, np.float32), None, {}),
        (np.array(0.5, np.float32), np.array(3, np.int8), {}),
        (np.array([0.1, 1, 2, 3], np.float32), np.array([0, 1, -2, 5], np.int8), {"axis": 0}),
        (np.arange(1, 7, dtype=np.float32), None, {"axis": -1}),
        (np.arange(1, 13, dtype=np.float32).reshape(4, 3), np.arange(12, dtype=np.int8).reshape(4, 3),
         {"axis": 1, "block_size": 2}),
        (np.arange(1, 13, dtype=np.float32).reshape(2, 6), np.arange(12, dtype=np.int8).reshape(2, 6),
         {"axis": 0, "block_size": 2}),
    ],
    ids=["tensor", "tensor with zero point", "rows", "last axis", "blocks of columns", "blocks of rows"],
)  # fmt: skip
def test_quantised_weights_are_restored_as_the_runtime_does(
    tmp_path: Path, scale: np.ndarray, zero: np.ndarray | None, settings: dict[str, int]
) -> None:
    write(tmp_path / "q.onnx", scale, zero, **settings)
    arrays = read_onnx_weights(tmp_path / "q.onnx")
    session = ort.InferenceSession(str(tmp_path / "q.onnx"), providers=["CPUExecutionProvider"])
    wanted = session.run(["out"], {"x": np.zeros(3, np.int8)})[0]
    np.testing.assert_allclose(arrays["out"], wanted, rtol=1e-6)
    assert "activation" not in arrays


def test_block_values_by_hand(tmp_path: Path) -> None:
    scale, zero = np.array([[0.5, 2.0]] * 4, np.float32), np.array([[1, -1]] * 4, np.int8)
    levels = write(tmp_path / "q.onnx", scale, zero, axis=1, block_size=3)
    restored = read_onnx_weights(tmp_path / "q.onnx")["w"]
    np.testing.assert_allclose(restored[:, :3], (levels[:, :3].astype(float) - 1) * 0.5)
    np.testing.assert_allclose(restored[:, 3:], (levels[:, 3:].astype(float) + 1) * 2.0)


@pytest.mark.assets
def test_parity_with_the_public_recogniser(asset: Callable[[str], Path]) -> None:
    path = asset("sface")
    net = FaceMobileNet().eval()
    net.load_published(read_onnx_weights(path))
    model = onnx.load(str(path))
    last = [node.output[0] for node in model.graph.node if node.op_type == "PRelu"][-1]
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 3, 112, 112)).astype(np.float32)
    # The file lists some of its constants as inputs too; they must be fed but are not used.
    feed = {i.name: np.zeros([d or 1 for d in i.shape], np.float32) for i in session.get_inputs()} | {"data": pixels}
    wanted = session.run([last], feed)[0]
    with torch.no_grad():
        found = net.maps((torch.from_numpy(pixels) - 127.5) * 0.0078125)[-1].numpy()
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(found, wanted, atol=1e-4)

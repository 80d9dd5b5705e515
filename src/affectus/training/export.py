"""From a trained module to the shipped ONNX file: export, shrink, prove equality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: End of the names of scales that bytes are multiplied with.
STEP = "_step"


def export_onnx(
    model: nn.Module,
    example: Mapping[str, Tensor],
    output: str,
    dynamic: Mapping[str, Mapping[int, str]],
    path: Path,
    opset: int = 17,
) -> None:
    """Write `model(**example)` as ONNX; `dynamic` names the free axes of every input and of the output."""
    model.eval()
    torch.onnx.export(
        model,
        tuple(example.values()),
        str(path),
        input_names=list(example),
        output_names=[output],
        dynamic_axes={name: dict(axes) for name, axes in dynamic.items()},
        opset_version=opset,
        dynamo=False,
    )


def halve_weights(path: Path, smallest: int = 256) -> None:
    """Store float32 weights as float16 behind a Cast, in place.

    ONNX Runtime folds the casts when it loads the file, so it computes in float32 at full speed; only the file shrinks.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    for node in [node for node in graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]:
        # Tables that tracing wrote as constants become weights like the others.
        values = numpy_helper.to_array(node.attribute[0].t)
        if values.dtype == np.float32 and values.size >= smallest:
            graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            graph.node.remove(node)
    casts = []
    for item in list(graph.initializer):
        values = numpy_helper.to_array(item)
        if item.data_type != TensorProto.FLOAT or values.size < smallest or np.abs(values).max() > 6e4:
            continue
        if item.name.endswith(STEP):  # the scales of bytes are too small for float16
            continue
        name = item.name
        half = numpy_helper.from_array(values.astype(np.float16), f"{name}_half")
        graph.initializer.remove(item)
        graph.initializer.append(half)
        casts.append(helper.make_node("Cast", [half.name], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def byte_table(path: Path, name: str) -> None:
    """Store the float32 table `name` (n, d) as int8 with one scale per column, in place; computation stays float32."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    item = next(entry for entry in graph.initializer if entry.name == name)
    values = numpy_helper.to_array(item)
    step = np.maximum(np.abs(values).max(0), 1e-6).astype(np.float32) / 127
    graph.initializer.remove(item)
    levels = np.round(values / step).astype(np.int8)
    graph.initializer.append(numpy_helper.from_array(levels, f"{name}_levels"))
    graph.initializer.append(numpy_helper.from_array(step, f"{name}{STEP}"))
    inputs = [f"{name}_levels", f"{name}{STEP}"]
    graph.node.insert(0, helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}_bytes", axis=1))
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def byte_weights(path: Path, smallest: int = 4096) -> None:
    """Store float32 weights of matrix products and convolutions as int8 times a scale per output, in place.

    Like with `halve_weights` only the file shrinks: ONNX Runtime multiplies them out when it loads it.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    axes = _output_axes(graph)
    added = []
    for item in list(graph.initializer):
        if item.data_type != TensorProto.FLOAT or item.name not in axes:
            continue
        values = numpy_helper.to_array(item)
        if values.size < smallest:
            continue
        others = tuple(axis for axis in range(values.ndim) if axis != axes[item.name] % values.ndim)
        step = np.maximum(np.abs(values).max(others, keepdims=True), 1e-9).astype(np.float32) / 127
        graph.initializer.remove(item)
        levels, scale, plain = f"{item.name}_levels", f"{item.name}{STEP}", f"{item.name}_float"
        graph.initializer.append(numpy_helper.from_array(np.round(values / step).astype(np.int8), levels))
        graph.initializer.append(numpy_helper.from_array(step, scale))
        added.append(helper.make_node("Cast", [levels], [plain], name=f"{item.name}_cast", to=TensorProto.FLOAT))
        added.append(helper.make_node("Mul", [plain, scale], [item.name], name=f"{item.name}_scaled"))
    for node in reversed(added):
        graph.node.insert(0, node)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _output_axes(graph: Any) -> dict[str, int]:
    """Axis of the outputs for every weight that a product or convolution takes: last of x·W, first of the others."""
    axes: dict[str, int] = {}
    for node in graph.node:
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        if node.op_type in ("MatMul", "Gemm", "Conv"):
            axes[node.input[1]] = 0 if node.op_type == "Conv" or transposed else -1
    return axes


def quantise_weights(path: Path, leave: Sequence[str] = ()) -> None:
    """Quantise matrix products and embeddings to int8 per channel, in place; nodes named in `leave` stay float32."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    partial = path.with_suffix(".int8")
    quantize_dynamic(
        str(path),
        str(partial),
        per_channel=True,
        reduce_range=False,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm", "Gather"],
        nodes_to_exclude=list(leave),
        extra_options={"MatMulConstBOnly": True},
    )
    partial.replace(path)


def largest_difference(model: nn.Module, path: Path, batches: Sequence[Mapping[str, Tensor]]) -> float:
    """Largest absolute difference between the module and the file over the given inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in batches:
        with torch.no_grad():
            wanted = model(*batch.values()).numpy()
        found = session.run(None, {name: value.numpy() for name, value in batch.items()})[0]
        worst = max(worst, float(np.abs(wanted - found).max()))
    return worst

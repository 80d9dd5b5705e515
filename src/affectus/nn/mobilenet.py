"""MobileNet-V1 trunk in the layout of the SFace recogniser.

Howard et al., "MobileNets", 2017 (Table 1) with PReLU and an unstrided stem, as used for 112×112 faces by
Zhong et al., "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE TIP 2021.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

# (output channels, stride) of the thirteen depthwise-separable blocks.
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


def _unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
        nn.PReLU(outputs),
    )


class FaceMobileNet(nn.Module):
    """Feature extractor for faces; input (B, 3, H, W) RGB scaled to [-1, 1], output (B, width).

    `blocks` and `stem` default to the published layout (3.2 M parameters); small values make test models.
    """

    def __init__(self, stem: int = 32, blocks: tuple[tuple[int, int], ...] = BLOCKS) -> None:
        super().__init__()
        self.stem = _unit(3, stem, 3)
        units, inputs = [], stem
        for outputs, stride in blocks:
            units.append(nn.Sequential(_unit(inputs, inputs, 3, stride, groups=inputs), _unit(inputs, outputs, 1)))
            inputs = outputs
        self.blocks = nn.ModuleList(units)
        self.width = inputs

    def maps(self, x: Tensor) -> list[Tensor]:
        """Feature maps after every block."""
        x = self.stem(x)
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, H, W) → (B, width)
        return self.maps(x)[-1].mean((2, 3))

    def load_published(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Load the weights of the public ONNX file as read by `read_onnx_weights`; strict.

        `conv_1` is the stem, `conv_{n}_dw` and `conv_{n}` (n = 2 … 14) the depthwise and pointwise halves of block n-2;
        the identity embedding (`pre_fc1`, `bn1`, `fc1`) is left out. Raises RuntimeError on a missing key.
        """
        kinds = {
            "conv2d_weight": "0.weight",
            "batchnorm_gamma": "1.weight",
            "batchnorm_beta": "1.bias",
            "batchnorm_moving_mean": "1.running_mean",
            "batchnorm_moving_var": "1.running_var",
            "relu_gamma": "2.weight",
        }
        state = {}
        for key, value in arrays.items():
            match = re.fullmatch(r"conv_(\d+)_(dw_)?(\w+)", key.removesuffix("_reshaped"))
            if match is None or match[3] not in kinds:
                continue
            number, depthwise, kind = int(match[1]), bool(match[2]), kinds[match[3]]
            part = "stem" if number == 1 else f"blocks.{number - 2}.{0 if depthwise else 1}"
            tensor = torch.from_numpy(np.array(value, np.float32))
            state[f"{part}.{kind}"] = tensor.flatten() if kind == "2.weight" else tensor
        state |= {key: value for key, value in self.state_dict().items() if key.endswith("num_batches_tracked")}
        self.load_state_dict(state, strict=True)


def read_onnx_weights(path: Path) -> dict[str, np.ndarray]:
    """Float weights of an ONNX file by name; quantised ones (DequantizeLinear + Reshape) are restored.

    Nothing of the graph is executed except the de-quantisation: value = (q − zero point) · scale, with one scale per
    tensor, per slice of an axis or per block along it.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            if any(name not in arrays for name in node.input):
                continue  # restores an activation, not a weight
            quantised, scale, *zero = (arrays[name] for name in node.input)
            settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            axis, size = int(settings.get("axis", 1)), int(settings.get("block_size", 0))
            spread = [_spread(part, quantised.shape, axis, size) for part in (scale, *zero)]
            arrays[node.output[0]] = (quantised.astype(np.float32) - (spread[1] if zero else 0)) * spread[0]
        elif node.op_type == "Reshape" and all(name in arrays for name in node.input):
            arrays[node.output[0]] = arrays[node.input[0]].reshape(arrays[node.input[1]])
    return arrays


def _spread(part: np.ndarray, shape: tuple[int, ...], axis: int, size: int) -> np.ndarray:
    """Scale or zero point as float32, broadcastable to the weights it belongs to."""
    part = part.astype(np.float32)
    if size:
        return np.repeat(part, size, axis).take(range(shape[axis]), axis)
    if part.size == 1:
        return part.reshape(())
    return part.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])

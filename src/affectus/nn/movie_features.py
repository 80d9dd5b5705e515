"""Features of every moment of a film: pictures, motion and sound, by frozen networks or by plain measurements.

Published setting (Thao et al., ICCV-W 2019): ImageNet ResNet-50 on the frame, ResNet-101 of the two-stream action net
on ten stacked flows (20 channels), both globally pooled to 2,048 numbers, 1,582 functionals of 400 ms of sound every 40
ms. The plain setting needs no weights: colour attributes, a description of the motion, the same functionals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from affectus import media
from affectus.errors import ConfigError, ModelError
from affectus.features.colour import colour_vector
from affectus.features.flow import dense_flow, flow_image, flow_stack, motion_vector
from affectus.features.functionals import functionals
from affectus.features.inputs import ImageInput
from affectus.nn.resnet import resnet
from affectus.types import Frame

#: Moments per second.
RATE = 25.0
#: Flows that one moment of the motion network sees.
STACK = 10

Frames = Sequence[np.ndarray]


def plain_pictures(frames: Frames) -> np.ndarray:
    """Colour, light and texture of every frame: (T, len(COLOUR_NAMES))."""
    return np.stack([colour_vector(frame) for frame in frames])


def plain_motion(frames: Frames, side: int = 128) -> np.ndarray:
    """Description of the motion towards every frame: (T, len(MOTION_NAMES)); the first repeats the second."""
    first = frames[:1] if len(frames) == 1 else frames[1:2]
    pairs = zip([frames[0], *frames[:-1]], [first[0], *frames[1:]], strict=True)
    return np.stack([motion_vector(dense_flow(a, b, side), 1 / RATE) for a, b in pairs])


def plain_sound(audio: np.ndarray) -> np.ndarray:
    """Functionals of 400 ms every 40 ms: (T, 1582)."""
    return functionals(audio, 16000)


class FrozenNetwork:
    """A frozen residual network as a feature function; built and loaded when first called.

    `weights` is a file with torchvision's keys (`torch.save` or safetensors); a classifier in it is left out.
    """

    def __init__(self, name: str, weights: str, channels: int = 3) -> None:
        self.name, self.weights, self.channels = name, weights, channels
        self._network: nn.Module | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.weights!r})"

    @property
    def network(self) -> nn.Module:
        """The network in evaluation mode; raises ConfigError without a file of weights, ModelError when it does not
        fit."""
        if self._network is None:
            state = {k: v for k, v in _read(self.weights, self.name).items() if not k.startswith("fc.")}
            network = resnet(self.name, self.channels)
            missing, unexpected = network.load_state_dict(state, strict=False)
            if wrong := [k for k in [*missing, *unexpected] if not k.endswith("num_batches_tracked")]:
                raise ModelError(self.weights, f"does not fit {self.name}: {', '.join(wrong[:3])}")
            self._network = network.eval()
        return self._network

    def run(self, inputs: Iterator[np.ndarray]) -> np.ndarray:
        """Pooled features (T, 2048) of inputs (channels, 224, 224), sixteen at a time."""
        found: list[Tensor] = []
        with torch.inference_mode():
            while group := list(islice(inputs, 16)):
                found.append(self.network(torch.from_numpy(np.stack(group))))
        return torch.cat(found).numpy()


class PictureNetwork(FrozenNetwork):
    """ResNet-50 on the middle 224 pixels of the frame scaled to a short side of 500 (the code crops at random)."""

    def __call__(self, frames: Frames) -> np.ndarray:
        spec = ImageInput(224, resize=500, fit="shorter", interpolation="area")
        return self.run(spec(frame) for frame in frames)


class MotionNetwork(FrozenNetwork):
    """ResNet-101 on the ten flows up to a frame; at the start of a film the first flows repeat."""

    def __call__(self, frames: Frames) -> np.ndarray:
        return self.run(self._stack(frames, i) for i in range(len(frames)))

    def _stack(self, frames: Frames, end: int) -> np.ndarray:
        rows = [max(0, i) for i in range(end - STACK, end + 1)]
        flow = flow_stack([frames[i] for i in rows], 340)
        stored = flow_image(flow).transpose(1, 2, 0)
        scale = 224 / min(stored.shape[:2])
        size = max(224, round(stored.shape[1] * scale)), max(224, round(stored.shape[0] * scale))
        grown = np.concatenate([cv2.resize(stored[..., i : i + 4], size) for i in range(0, 2 * STACK, 4)], 2)
        top, left = (grown.shape[0] - 224) // 2, (grown.shape[1] - 224) // 2
        crop = grown[top : top + 224, left : left + 224].astype(np.float32) / 255
        return np.ascontiguousarray(((crop - 0.5) / 0.226).transpose(2, 0, 1))


def movie_features(path: str | Path, makers: Mapping[str, Callable], batch: int = 64) -> dict[str, np.ndarray]:
    """Features of a whole film by modality (`rgb`, `flow`, `audio`), each (moments, size), 25 moments per second.

    Frames stream through, `batch` at a time; all modalities are cut to the shortest.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in makers}
    visual = {name: make for name, make in makers.items() if name != "audio"}
    stream = _on_grid(media.video_frames(path, fps=RATE)) if visual else iter(())
    before: list[np.ndarray] = []
    while group := list(islice(stream, batch)):
        for name, make in visual.items():
            lead = before if name == "flow" else []
            found[name].append(make([*lead, *group])[len(lead) :])
        before = [*before, *group][-STACK:]
    if "audio" in makers:
        found["audio"].append(makers["audio"](media.read_audio(path)))
    joined = {name: np.concatenate(parts).astype(np.float32) for name, parts in found.items() if parts}
    if not joined:
        raise ConfigError(path, "gives no moment", "give a film with pictures or sound")
    shortest = min(map(len, joined.values()))
    return {name: values[:shortest] for name, values in joined.items()}


def _on_grid(frames: Iterable[Frame]) -> Iterator[np.ndarray]:
    """The picture on the screen at every moment: frames of slower films repeat."""
    shown: np.ndarray | None = None
    moment = 0
    for frame in frames:
        while shown is not None and moment / RATE < frame.time - 0.5 / RATE:
            yield shown
            moment += 1
        shown = frame.image
    if shown is not None:
        yield shown


def _read(path: str, name: str) -> dict[str, Tensor]:
    if not path:
        raise ConfigError(f"weights of {name}", "are not given", "name a file in the config, or use its plain features")
    if not Path(path).is_file():
        raise ConfigError(path, "is no file", f"give weights of {name} under torchvision's names")
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)

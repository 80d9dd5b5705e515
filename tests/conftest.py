"""Fixtures shared by all rooms."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

# How long an example takes says something about the machine, not about the code; benchmarks/ holds what is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real corpora; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("AFFECTUS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the shared corpora are not on this machine (set AFFECTUS_SHARED_DATA)")
    return folder


#: Words the fake words model knows, and the label each stands for.
FAKE_WORDS = {"glad": "joy", "love": "love", "angry": "anger", "furious": "anger", "afraid": "fear", "sad": "sadness",
              "disgusting": "disgust", "wow": "surprise"}  # fmt: skip


@pytest.fixture(scope="session")
def fake_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a tiny ONNX package per shipped model: same signature and card, rules instead of training.

    face: bright lower half → happiness, bright upper half → sadness, else neutral. voice: more energy in the upper
    bands → angry, else neutral. words: the words of `FAKE_WORDS`. scene: brightness is valence.
    """
    pytest.importorskip("onnx")
    root = tmp_path_factory.mktemp("models")
    for name, build in (("face", _fake_face), ("voice", _fake_voice), ("words", _fake_words), ("scene", _fake_scene)):
        (root / name).mkdir()
        build(root / name)
    _fake_context(root / "context")
    return root


def _fake_context(folder: Path) -> None:
    """A reading of conversations that takes each turn for itself: the labels of `FAKE_WORDS` by name."""
    from affectus.labels import space

    emotions, labels = space("ekman7").labels, space("goemotions28").labels
    weights = np.zeros((31, 7))
    for name, label in zip(
        emotions, ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"), strict=True
    ):
        weights[labels.index(label), emotions.index(name)] = 1.0
    folder.mkdir()
    numbers = {"mean": [0.0] * 31, "scale": [1.0] * 31, "weights": weights.tolist(), "bias": [0.0] * 7}
    _card(folder, modality="words", space="ekman7", labels=emotions,
          inputs={"parts": ["turn"], "shift": 0.25, **numbers}, dimensions=[])  # fmt: skip
    record = json.loads((folder / "card.json").read_text()) | {"name": "context"}
    (folder / "card.json").write_text(json.dumps(record))


def _save(folder: Path, nodes: list[Any], inputs: list[Any], output: Any, weights: dict[str, np.ndarray]) -> None:
    from onnx import checker, helper, numpy_helper, save

    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "fake", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, str(folder / "model.onnx"))


def _card(folder: Path, **fields: Any) -> None:
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}
    card = {"title": f"Fake {fields['modality']} model", "version": "0", "task": "a rule", "perspective": "expressed",
            "name": fields["modality"], "licence": {"code": "Apache-2.0"}, "files": files,
            "metrics": {"ece": {"value": 0.02, "low": 0.01, "high": 0.03}}}  # fmt: skip
    (folder / "card.json").write_text(json.dumps(card | fields))


def _tensor(name: str, kind: int, shape: list[Any]) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, kind, shape)


def _fake_face(folder: Path) -> None:
    from onnx import TensorProto, helper

    from affectus.labels import space

    labels = space("ferplus8").labels
    weights = np.zeros((48 * 48, 8), np.float32)
    rows = np.repeat(np.arange(48), 48)
    weights[rows >= 24, labels.index("happiness")] = 1.0
    weights[rows < 24, labels.index("happiness")] = -1.0
    weights[:, labels.index("sadness")] = -weights[:, labels.index("happiness")]
    bias = np.zeros(8, np.float32)
    bias[labels.index("neutral")] = 1.5
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    inputs = [_tensor("images", TensorProto.FLOAT, ["faces", 1, 48, 48])]
    output = _tensor("probabilities", TensorProto.FLOAT, ["faces", 8])
    _save(folder, nodes, inputs, output, {"w": weights * np.float32(0.1 / 1152), "b": bias})
    _card(folder, modality="face", space="ferplus8", labels=labels, dimensions=["valence", "arousal"],
          inputs={"size": 48}, confusion=(np.eye(8, dtype=int) * 10).tolist())  # fmt: skip


def _fake_voice(folder: Path) -> None:
    from onnx import TensorProto, helper

    from affectus.labels import space

    labels = space("ravdess8").labels
    weights = np.zeros((80, 9), np.float32)
    weights[40:, labels.index("angry")] = 4 / 40
    weights[:40, labels.index("angry")] = -4 / 40
    weights[:, 8] = 1 / 80
    bias = np.zeros(9, np.float32)
    bias[labels.index("neutral")] = 1.0
    nodes = [
        helper.make_node("ReduceMean", ["mel"], ["mean"], axes=[2], keepdims=0),
        helper.make_node("Gemm", ["mean", "w", "b"], ["all"]),
        helper.make_node("Split", ["all", "sizes"], ["logits", "level"], axis=1),
        helper.make_node("Softmax", ["logits"], ["p"], axis=1),
        helper.make_node("Tanh", ["level"], ["arousal"]),
        helper.make_node("Concat", ["p", "arousal"], ["outputs"], axis=1),
    ]
    inputs = [_tensor("mel", TensorProto.FLOAT, ["clips", 80, "frames"])]
    output = _tensor("outputs", TensorProto.FLOAT, ["clips", 9])
    _save(folder, nodes, inputs, output, {"w": weights, "b": bias, "sizes": np.array([8, 1], np.int64)})
    _card(folder, modality="voice", space="ravdess8", labels=labels, dimensions=["arousal"], inputs={"rate": 16000})


def _fake_words(folder: Path) -> None:
    from onnx import TensorProto, helper
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    from affectus.labels import space

    labels = space("goemotions28").labels
    vocabulary = {"[UNK]": 0} | {word: i + 1 for i, word in enumerate(FAKE_WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.zeros((len(vocabulary), 31), np.float32)
    valence = {"joy": 2, "love": 2, "surprise": 0.3}
    for word, label in FAKE_WORDS.items():
        table[vocabulary[word], labels.index(label)] = 7.0
        table[vocabulary[word], labels.index("neutral")] = -5.0
        table[vocabulary[word], 28:] = (valence.get(label, -2), 1, 0)
    bias = np.full(31, -4.0, np.float32)
    bias[labels.index("neutral")] = 2.0
    bias[28:] = 0
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Cast", ["mask"], ["m"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["m", "two"], ["m3"]),
        helper.make_node("Mul", ["rows", "m3"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "one"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "b"], ["all"]),
        helper.make_node("Split", ["all", "sizes"], ["logits", "levels"], axis=1),
        helper.make_node("Sigmoid", ["logits"], ["p"]),
        helper.make_node("Tanh", ["levels"], ["vad"]),
        helper.make_node("Concat", ["p", "vad"], ["outputs"], axis=1),
    ]
    inputs = [
        _tensor("ids", TensorProto.INT64, ["texts", "tokens"]),
        _tensor("mask", TensorProto.INT64, ["texts", "tokens"]),
    ]
    output = _tensor("outputs", TensorProto.FLOAT, ["texts", 31])
    weights = {"table": table, "b": bias, "sizes": np.array([28, 3], np.int64), "one": np.array([1], np.int64),
               "two": np.array([2], np.int64)}  # fmt: skip
    _save(folder, nodes, inputs, output, weights)
    _card(folder, modality="words", space="goemotions28", labels=labels, dimensions=["valence", "arousal", "dominance"],
          inputs={"max_tokens": 96, "thresholds": [0.5] * 28, "language": "en"})  # fmt: skip


def _fake_scene(folder: Path) -> None:
    from onnx import TensorProto, helper

    from affectus.features import COLOUR_NAMES
    from affectus.models.scene_faces import WIDTH

    nodes = [
        helper.make_node("ReduceMean", ["pixels"], ["level"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["level", "shape"], ["column"]),
        helper.make_node("ReduceMean", ["colours"], ["unused"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["unused", "zero"], ["nothing"]),
        helper.make_node("Add", ["column", "nothing"], ["sum"]),
        helper.make_node("Gemm", ["sum", "w", "b"], ["four"]),
        helper.make_node("Reshape", ["four", "square"], ["outputs"]),
    ]
    inputs = [_tensor("pixels", TensorProto.FLOAT, ["images", 3, 32, 32]),
              _tensor("large", TensorProto.FLOAT, ["images", 3, 40, 40]),
              _tensor("colours", TensorProto.FLOAT, ["images", len(COLOUR_NAMES)]),
              _tensor("faces", TensorProto.FLOAT, ["images", WIDTH])]  # fmt: skip
    output = _tensor("outputs", TensorProto.FLOAT, ["images", 2, 2])
    weights = {"w": np.array([[1 / 160, 0, 0, 0]], np.float32), "b": np.array([-0.8, 0.2, 0.1, 0.2], np.float32),
               "shape": np.array([-1, 1], np.int64), "square": np.array([-1, 2, 2], np.int64),
               "zero": np.zeros(1, np.float32)}  # fmt: skip
    _save(folder, nodes, inputs, output, weights)
    _card(folder, modality="scene", perspective="evoked", space="va", labels=["valence", "arousal"],
          dimensions=["valence", "arousal"], inputs={"sizes": [32, 40]},
          calibration={"interval_factor": 1.96})  # fmt: skip


class OpenAiClip:
    """CLIP computed apart from the package, from weights in OpenAI's key layout, through torch's attention."""

    def state(self, sizes: Any, seed: int = 0) -> dict[str, Any]:
        """Random weights by the names and shapes of OpenAI's archives."""
        import torch

        random = torch.Generator().manual_seed(seed)

        def new(*shape: int) -> Any:
            return torch.randn(shape, generator=random) * 0.1

        def norm(name: str, width: int) -> dict[str, Any]:
            return {f"{name}.weight": 1 + new(width), f"{name}.bias": new(width)}

        def blocks(prefix: str, width: int, layers: int) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for i in range(layers):
                at = f"{prefix}transformer.resblocks.{i}."
                found |= norm(at + "ln_1", width) | norm(at + "ln_2", width)
                for name, rows, columns in (("attn.in_proj_", 3, 1), ("attn.out_proj.", 1, 1), ("mlp.c_fc.", 4, 1),
                                            ("mlp.c_proj.", 1, 4)):  # fmt: skip
                    found |= {
                        f"{at}{name}weight": new(rows * width, columns * width),
                        f"{at}{name}bias": new(rows * width),
                    }
            return found

        found = {
            "visual.class_embedding": new(sizes.width),
            "visual.positional_embedding": new((sizes.image // sizes.patch) ** 2 + 1, sizes.width),
            "visual.conv1.weight": new(sizes.width, 3, sizes.patch, sizes.patch),
            "visual.proj": new(sizes.width, sizes.projection),
            "token_embedding.weight": new(sizes.vocabulary, sizes.text_width),
            "positional_embedding": new(sizes.context, sizes.text_width),
            "text_projection": new(sizes.text_width, sizes.projection),
            "logit_scale": torch.tensor(4.6),
        }
        found |= norm("visual.ln_pre", sizes.width) | norm("visual.ln_post", sizes.width)
        found |= norm("ln_final", sizes.text_width)
        return found | blocks("visual.", sizes.width, sizes.layers) | blocks("", sizes.text_width, sizes.text_layers)

    def image(self, pixels: Any, state: dict[str, Any], patch: int, heads: int) -> Any:
        """Image features (B, projection)."""
        import torch
        from torch.nn import functional

        x = functional.conv2d(pixels, state["visual.conv1.weight"], stride=patch).flatten(2).mT
        x = (
            torch.cat([state["visual.class_embedding"].expand(len(x), 1, -1), x], 1)
            + state["visual.positional_embedding"]
        )
        x = functional.layer_norm(x, x.shape[-1:], state["visual.ln_pre.weight"], state["visual.ln_pre.bias"])
        x = self._blocks(x, state, "visual.", heads)[:, 0]
        x = functional.layer_norm(x, x.shape[-1:], state["visual.ln_post.weight"], state["visual.ln_post.bias"])
        return x @ state["visual.proj"]

    def text(self, embeddings: Any, read_out: Any, state: dict[str, Any], heads: int) -> Any:
        """Text features (B, projection) of token embeddings (B, length, width)."""
        import torch
        from torch.nn import functional

        length = embeddings.shape[1]
        mask = torch.full((length, length), float("-inf")).triu(1)
        x = self._blocks(embeddings + state["positional_embedding"][:length], state, "", heads, mask)
        x = functional.layer_norm(x, x.shape[-1:], state["ln_final.weight"], state["ln_final.bias"])
        return x[range(len(x)), read_out] @ state["text_projection"]

    def _blocks(self, x: Any, state: dict[str, Any], prefix: str, heads: int, mask: Any = None) -> Any:
        import torch
        from torch import nn
        from torch.nn import functional

        width, index = x.shape[-1], 0
        while f"{prefix}transformer.resblocks.{index}.ln_1.weight" in state:
            at = f"{prefix}transformer.resblocks.{index}."
            own = {k.removeprefix(at): v for k, v in state.items() if k.startswith(at)}
            attention = nn.MultiheadAttention(width, heads, batch_first=True).eval()
            attention.load_state_dict({k.removeprefix("attn."): v for k, v in own.items() if k.startswith("attn.")})
            y = functional.layer_norm(x, (width,), own["ln_1.weight"], own["ln_1.bias"])
            x = x + attention(y, y, y, attn_mask=mask, need_weights=False)[0]
            y = functional.layer_norm(x, (width,), own["ln_2.weight"], own["ln_2.bias"])
            y = functional.linear(y, own["mlp.c_fc.weight"], own["mlp.c_fc.bias"])
            x = x + functional.linear(y * torch.sigmoid(1.702 * y), own["mlp.c_proj.weight"], own["mlp.c_proj.bias"])
            index += 1
        return x


@pytest.fixture(scope="session")
def openai_clip() -> OpenAiClip:
    """An independent CLIP to compare with."""
    return OpenAiClip()

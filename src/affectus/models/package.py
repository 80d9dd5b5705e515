"""Model folders: `card.json` beside `model.onnx`, checked against the hashes in the card."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from affectus.errors import ConfigError, ModelError
from affectus.models.dialogue import NAMES as READINGS
from affectus.models.dialogue import dialogue_card
from affectus.types import Card

if TYPE_CHECKING:
    import onnxruntime

NAMES = ("face", "voice", "words", "scene")
_device: ContextVar[str] = ContextVar("affectus_device", default="auto")


def model_folder(name: str, folder: str | Path | None = None) -> Path:
    """Folder of a shipped model, or `folder` checked to hold a model.

    AFFECTUS_MODELS names a folder `<name>/card.json` … to be used in place of the packaged one.
    """
    if name not in NAMES:
        raise ModelError(name, "is not a shipped model", f"choose one of {', '.join(NAMES)}")
    packaged = Path(os.environ.get("AFFECTUS_MODELS") or Path(__file__).parent / "weights")
    path = Path(folder) if folder else packaged / name
    for part in ("card.json", "model.onnx"):
        if not (path / part).is_file():
            raise ModelError(path / part, "is missing", "reinstall affectus, or train it with the recipe in recipes/")
    return path


def card(name: str) -> Card:
    """Card of one shipped model, or of a reading of conversations."""
    if name in READINGS:
        return dialogue_card(name)
    return Card.read(model_folder(name) / "card.json")


def cards() -> list[Card]:
    """Cards of all shipped models."""
    return [card(name) for name in NAMES]


def threads() -> int:
    """Threads for ONNX Runtime: AFFECTUS_THREADS, else the cores this process may use."""
    if chosen := os.environ.get("AFFECTUS_THREADS"):
        if not chosen.isdecimal():
            raise ConfigError("AFFECTUS_THREADS", f"is {chosen!r}", "set a whole number")
        return max(1, int(chosen))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def on_device(name: str) -> Iterator[None]:
    """Models opened inside the block run on this device: "auto" (a GPU when there is one), "cpu" or "cuda"."""
    token = _device.set(name)
    try:
        yield
    finally:
        _device.reset(token)


def session(path: Path) -> onnxruntime.InferenceSession:
    """ONNX Runtime session of a model file; kept open, shared by all users of the file on the same device."""
    state = path.stat()
    return _session(path, _device.get(), (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=8)
def _session(path: Path, device: str, state: tuple[int, int]) -> onnxruntime.InferenceSession:
    """`state` is part of the key: a file that was replaced is opened anew."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin between calls take the cores from the decoder and from OpenCV.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without an arena, memory follows the batch instead of keeping the largest one ever seen.
    options.enable_cpu_mem_arena = False
    wanted = ("CPUExecutionProvider",) if device == "cpu" else ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [p for p in wanted if p in onnxruntime.get_available_providers()]
    if device == "cuda" and "CUDAExecutionProvider" not in providers:
        raise ModelError("device cuda", "is not usable by ONNX Runtime here", "install onnxruntime-gpu, or use cpu")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        raise ModelError(path, f"cannot be opened: {str(error).splitlines()[0]}", "reinstall affectus") from error


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def open_model(folder: Path) -> tuple[Card, onnxruntime.InferenceSession]:
    """Card and session of a model folder; refuses weights whose hash is not the one in the card."""
    try:
        card = Card.read(folder / "card.json")
    except (ValueError, TypeError) as error:
        raise ModelError(folder / "card.json", f"is no model card: {error}", "reinstall affectus") from error
    if "model.onnx" not in card.files:
        raise ModelError(folder / "card.json", "holds no hash of model.onnx", "reinstall affectus")
    for name, wanted in card.files.items():
        found = file_hash(folder / name) if (folder / name).is_file() else "missing"
        if found != wanted:
            raise ModelError(
                folder / name, f"does not match its card (found {found[:12]}, card {wanted[:12]})", "reinstall affectus"
            )
    return card, session(folder / "model.onnx")

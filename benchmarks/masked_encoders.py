"""Time masked audio-visual pre-training against the same network that sees every token, in one run on one machine.

    python benchmarks/masked_encoders.py [--size base|small|smallest] [--batch 2] [--repeats 3] [--device cpu|cuda]
        [--precision no|bf16] [--compile] [--json FILE]

"Dense" is the encoder on all tokens; "masked" the same encoder on the visible tenth, gathered before the embedding. The
whole step (both encoders, fusion, decoders, losses, optimizer) is timed as well: there the decoders, which see all
positions either way, bound the gain.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from affectus.nn.masking import Mask
from affectus.systems.hicmae import Config, HiCMAEPretraining

#: What masking must gain at 90 % on the video encoder of the published base size.
LEAST = {"encoder forward": 8.0, "encoder train step": 4.0}


def seconds(work: Callable[[], Any], repeats: int, device: str) -> float:
    """Best wall time of several runs after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def everything(config: Config, batch: int, device: str) -> dict[str, Mask]:
    """Masks that hide one token only: the dense network through the same code, with something left to rebuild."""
    masks = {}
    for kind in config.modalities:
        order = torch.arange(config.tokens(kind), device=device).expand(batch, -1)
        masks[kind] = Mask(order[:, 1:], order[:, :1])
    return masks


class Bench:
    """One network, one batch, and the works to time on them."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.device, self.batch = options.device, options.batch
        self.config = getattr(Config, options.size)()
        self.system = HiCMAEPretraining(self.config).to(self.device).train()
        self.encoder: Any = torch.compile(self.system.encoder) if options.compile else self.system.encoder
        self.optimizer = torch.optim.AdamW(self.system.parameters(), 1e-4)
        self.bf16 = options.precision == "bf16"
        c = self.config
        self.video = torch.randn(self.batch, 3, c.frames, c.size, c.size, device=self.device)
        self.audio = torch.randn(self.batch, 1, c.audio_frames, c.mels, device=self.device)
        self.masks = {kind: c.mask(kind, x) for kind, x in (("video", self.video), ("audio", self.audio))}

    def precision(self) -> AbstractContextManager[Any]:
        """Autocast where asked for."""
        return torch.autocast(self.device, torch.bfloat16) if self.bf16 else nullcontext()

    def encode(self, visible: Tensor | None) -> Tensor:
        """The video encoder's last layer."""
        with self.precision():
            return self.encoder(self.video, (self.config.depth - 1,), visible)[0]

    def forward_only(self, visible: Tensor | None) -> Callable[[], Any]:
        """Forward of the video encoder without gradients."""

        def work() -> None:
            with torch.inference_mode():
                self.encode(visible)

        return work

    def encoder_step(self, visible: Tensor | None) -> Callable[[], Any]:
        """Forward, backward and update of the video encoder."""

        def work() -> None:
            self.optimizer.zero_grad(set_to_none=True)
            self.encode(visible).float().square().mean().backward()
            self.optimizer.step()

        return work

    def whole_step(self, masks: dict[str, Mask]) -> Callable[[], Any]:
        """Forward, all losses, backward and update of the whole network."""
        flags = {f"{kind}_mask": mask.as_bool() for kind, mask in masks.items()}
        batch = {"video": self.video, "audio": self.audio, **flags}

        def work() -> None:
            self.optimizer.zero_grad(set_to_none=True)
            with self.precision():
                parts = self.system.losses(batch, self.system(batch))
            torch.stack([part.float() for part in parts.values()]).sum().backward()
            self.optimizer.step()

        return work


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of each work, dense and masked, and the clips per second of the masked one."""
    bench = Bench(options)
    seen = bench.masks["video"].visible
    dense = everything(bench.config, bench.batch, bench.device)
    pairs: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "encoder forward": (bench.forward_only(None), bench.forward_only(seen)),
        "encoder train step": (bench.encoder_step(None), bench.encoder_step(seen)),
        "whole pre-training step": (bench.whole_step(dense), bench.whole_step(bench.masks)),
    }
    rows = []
    for name, works in pairs.items():
        slow, fast = (seconds(work, options.repeats, bench.device) for work in works)
        rows.append({"task": name, "dense_seconds": slow, "masked_seconds": fast, "gain": slow / fast,
                     "least_gain": LEAST.get(name), "clips_per_second": bench.batch / fast})  # fmt: skip
    return rows


def main() -> None:
    """Measure, print a table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["base", "small", "smallest", "tiny"], default="base")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["no", "bf16"], default="no")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure(options)
    print(f"| HiCMAE {options.size}, batch {options.batch} | all tokens | a tenth | times faster | clips/s |")
    print("|---|---|---|---|---|")
    for row in rows:
        least = f" (at least {row['least_gain']:g} wanted)" if row["least_gain"] else ""
        print(
            f"| {row['task']} | {row['dense_seconds'] * 1000:,.0f} ms | {row['masked_seconds'] * 1000:,.0f} ms "
            f"| {row['gain']:.1f}{least} | {row['clips_per_second']:.2f} |"
        )
    if options.json:
        name = torch.cuda.get_device_name() if options.device == "cuda" else platform.machine()
        machine = {"processor": name, "threads": torch.get_num_threads(), "torch": torch.__version__}
        settings = {k: v for k, v in vars(options).items() if k != "json"}
        record = {"machine": machine, "settings": settings, "results": rows}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

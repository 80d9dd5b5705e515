"""The training loop: phases, mixed precision, accumulation, averaging, selection on validation, resume after a kill.

Built on `accelerate`, so one process on a laptop, several GPUs and FSDP run the same code.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from affectus.errors import ConfigError
from affectus.nn.phase import Phase
from affectus.training.optimisation import build_optimizer, parameter_groups, rate_schedule, select_parameters
from affectus.training.task import Task


@dataclass
class Progress:
    """Where a run stands; written after every epoch so that a killed run goes on there.

    `fingerprint` is that of the run and `phases` those of the phases begun; empty where an older version wrote them.
    """

    phase: int = 0
    epoch: int = 0
    best: float = float("-inf")
    best_metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    fingerprint: str = ""
    phases: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FitResult:
    """Validation metrics of the kept weights, where they lie, and the time it took (seconds)."""

    metrics: dict[str, float]
    weights: Path
    seconds: float


def fit(
    task: Task,
    phases: list[Phase],
    folder: Path,
    seed: int = 0,
    precision: str = "no",
    allow_test_selection: bool = False,
    fingerprint: str = "",
) -> FitResult:
    """Train `task.model` through `phases`; the best weights by `task.select` end in `folder/best.safetensors`.

    `precision` is "no" or "bf16". A run that was cut off continues after its last whole epoch, and a finished one with
    the phases that were appended. `fingerprint` says what else made the run (`Recipe.fingerprint`).
    Raises ConfigError when the checkpoint would be chosen on a test split (only `parity="published"` runs may), and
    when `folder` holds a run of another fingerprint or other phases before the point reached.
    """
    if "test" in task.validation_split.lower() and not allow_test_selection:
        raise ConfigError(
            task.validation_split, "a checkpoint must not be chosen on a test split", "name a validation split"
        )
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(mixed_precision=precision)
    progress = _read_progress(folder)
    marks = [phase.fingerprint for phase in phases]
    _same_run(folder, progress, fingerprint, marks)
    progress.fingerprint = fingerprint or progress.fingerprint
    if progress.phase and not progress.epoch:
        task.model.load_state_dict(load_file(folder / "best.safetensors"))
    for index in range(progress.phase, len(phases)):
        progress.phases = marks[: index + 1]
        _run_phase(task, phases[index], index, folder, seed, accelerator, progress)
        task.model.load_state_dict(load_file(folder / "best.safetensors"))
        progress.phase, progress.epoch = index + 1, 0
        _write_progress(folder, progress)
    return FitResult(progress.best_metrics, folder / "best.safetensors", progress.seconds)


def _same_run(folder: Path, progress: Progress, fingerprint: str, marks: list[str]) -> None:
    remedy = "give another folder, or delete this one"
    if fingerprint and progress.fingerprint and fingerprint != progress.fingerprint:
        raise ConfigError(folder, "holds a run of other data, options, seed or precision", remedy)
    for number, begun in enumerate(progress.phases, 1):
        if marks[number - 1 : number] != [begun]:
            raise ConfigError(folder, f"holds a run whose phase {number} was another one", remedy)


def _run_phase(
    task: Task, phase: Phase, index: int, folder: Path, seed: int, accelerator: Accelerator, progress: Progress
) -> None:
    task.enter(phase)
    select_parameters(task.model, phase)
    task.model.to(accelerator.device)  # before the optimiser and the average take hold of its tensors
    groups = parameter_groups(task.model, phase, task.depth)
    optimizer = build_optimizer(groups, phase)
    steps = max(1, len(task.loader(phase, 0)) // phase.accumulate * phase.epochs)
    schedule = rate_schedule(optimizer, phase, steps)
    # Copied before `prepare`, which wraps the forward of the model in autocast: the average is validated in float32.
    average = None
    if phase.ema:
        average = AveragedModel(task.model, multi_avg_fn=get_ema_multi_avg_fn(phase.ema), use_buffers=True)
    model, optimizer = accelerator.prepare(task.model, optimizer)
    state = folder / "resume.pt"
    if progress.epoch and state.exists():
        _restore(state, accelerator.unwrap_model(model), optimizer, schedule, average)
    if progress.epoch == 0:
        progress.best = float("-inf")  # phases may differ in what their metric means (resolution, data)
    for epoch in range(progress.epoch, phase.epochs):
        if phase.patience and epoch and epoch - progress.best_metrics.get("epoch", epoch) >= phase.patience:
            break
        started = time.time()
        task.begin(phase, epoch)
        set_seed(seed * 100_003 + index * 1_009 + epoch)
        loader = accelerator.prepare(task.loader(phase, seed * 100_003 + index * 1_009 + epoch))
        totals = _run_epoch(task, phase, model, loader, optimizer, schedule, average, accelerator)
        kept = average.module if average is not None else accelerator.unwrap_model(model)
        kept.eval()
        with torch.no_grad():
            metrics = {"epoch": float(epoch + 1), **task.validate(kept)}
        progress.seconds += time.time() - started
        progress.epoch = epoch + 1
        score = _score(task, metrics)
        if accelerator.is_main_process:
            if score > progress.best:
                progress.best, progress.best_metrics = score, metrics
                _save_weights(kept, folder / "best.safetensors")
            _checkpoint(state, accelerator.unwrap_model(model), optimizer, schedule, average)
            _write_progress(folder, progress)
            _log(
                folder,
                {
                    "phase": phase.name,
                    "epoch": epoch + 1,
                    **totals,
                    **metrics,
                    "seconds": round(time.time() - started, 1),
                },
            )
        accelerator.wait_for_everyone()
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # gives the model its own forward back
    state.unlink(missing_ok=True)


def _run_epoch(
    task: Task,
    phase: Phase,
    model: nn.Module,
    loader: Any,
    optimizer: Any,
    schedule: Any,
    average: Any,
    accelerator: Accelerator,
) -> dict[str, float]:
    """One pass over the data; returns mean losses and throughput (items/s)."""
    model.train()
    sums: dict[str, torch.Tensor] = {}  # stay on the device: reading each of them would make it wait
    items, started = 0, time.time()
    shown = accelerator.is_main_process and sys.stderr.isatty()
    batches = track(loader, phase.name, console=Console(stderr=True), disable=not shown, total=len(loader))
    for step, batch in enumerate(batches):
        with accelerator.autocast():
            parts = task.losses(model, batch, phase)
        loss = torch.stack([part.float() for part in parts.values()]).sum()
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"phase {phase.name!r}, step {step}: loss is {float(loss.detach())}; parts {parts}"
            )
        accelerator.backward(loss / phase.accumulate)
        size = len(next(iter(batch.values())))
        items += size
        for name, part in parts.items():
            sums[name] = sums.get(name, 0.0) + part.detach().double() * size
        if (step + 1) % phase.accumulate:
            continue
        if phase.clip:
            accelerator.clip_grad_norm_(model.parameters(), phase.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if average is not None:
            average.update_parameters(accelerator.unwrap_model(model))
    means = {f"loss/{name}": round(float(total) / max(items, 1), 5) for name, total in sums.items()}
    return {**means, "lr": schedule.get_last_lr()[0], "items_per_second": round(items / (time.time() - started), 1)}


def _score(task: Task, metrics: dict[str, float]) -> float:
    name = task.select.removeprefix("-")
    if name not in metrics:
        raise ConfigError(name, "is not among the validation metrics", f"choose one of {', '.join(metrics)}")
    return -metrics[name] if task.select.startswith("-") else metrics[name]


def _save_weights(model: nn.Module, path: Path) -> None:
    partial = path.with_suffix(".partial")
    save_file({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}, partial)
    partial.replace(path)


def _checkpoint(path: Path, model: nn.Module, optimizer: Any, schedule: Any, average: Any) -> None:
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "average": average.state_dict() if average is not None else None,
        },
        partial,
    )
    partial.replace(path)


def _restore(path: Path, model: nn.Module, optimizer: Any, schedule: Any, average: Any) -> None:
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    if average is not None:
        average.load_state_dict(state["average"])


def _read_progress(folder: Path) -> Progress:
    path = folder / "progress.json"
    return Progress(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Progress()


def _write_progress(folder: Path, progress: Progress) -> None:
    partial = folder / "progress.partial"
    partial.write_text(json.dumps(asdict(progress)), encoding="utf-8")
    partial.replace(folder / "progress.json")


def _log(folder: Path, record: dict[str, Any]) -> None:
    with (folder / "log.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")

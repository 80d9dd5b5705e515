"""The loop: learns, averages, freezes, selects, resumes after a kill, refuses to choose on a test split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from affectus.errors import ConfigError
from affectus.nn.phase import Phase
from affectus.training.loop import fit
from affectus.training.optimisation import build_optimizer, parameter_groups, rate_schedule, select_parameters
from affectus.training.task import Task


class Line(Task):
    """y = 2x - 1 from 64 points."""

    select = "-error"

    def __init__(self, split: str = "validation", stop_after: int | None = None) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        self.validation_split = split
        self.x = torch.linspace(-1, 1, 64)[:, None]
        self.stop_after, self.validations = stop_after, 0

    def loader(self, phase: Phase, seed: int) -> DataLoader:
        def collate(rows: list[int]) -> dict[str, Tensor]:
            return {"x": self.x[rows], "y": 2 * self.x[rows] - 1}

        generator = torch.Generator().manual_seed(seed)
        return DataLoader(range(64), phase.batch_size, shuffle=True, collate_fn=collate, generator=generator)

    def losses(self, model: nn.Module, batch: Mapping[str, Tensor], phase: Phase) -> dict[str, Tensor]:
        return {"error": (model(batch["x"]) - batch["y"]).pow(2).mean()}

    def validate(self, model: nn.Module) -> dict[str, float]:
        self.validations += 1
        if self.stop_after is not None and self.validations > self.stop_after:
            raise KeyboardInterrupt
        return {"error": float((model(self.x) - (2 * self.x - 1)).pow(2).mean())}


PHASE = Phase("all", 6, 0.03, 8, ema=0.9)


def test_learns_and_logs(tmp_path: Path) -> None:
    task = Line()
    before = task.validate(task.model)["error"]
    result = fit(task, [PHASE], tmp_path)
    assert result.metrics["error"] < 0.05 * before
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["loss/error"] < lines[0]["loss/error"]


def test_kept_weights_are_the_best_validated(tmp_path: Path) -> None:
    task = Line()
    result = fit(task, [PHASE], tmp_path)
    task.model.load_state_dict(load_file(result.weights))
    with torch.no_grad():
        assert task.validate(task.model)["error"] == pytest.approx(result.metrics["error"], rel=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert result.metrics["error"] == min(line["error"] for line in lines)


def test_same_seed_same_numbers(tmp_path: Path) -> None:
    first = fit(Line(), [PHASE], tmp_path / "a", seed=3)
    second = fit(Line(), [PHASE], tmp_path / "b", seed=3)
    other = fit(Line(), [PHASE], tmp_path / "c", seed=4)
    assert first.metrics == second.metrics
    assert first.metrics != other.metrics


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    phases = [PHASE, Phase("again", 3, 0.01, 16)]
    fit(Line(), phases, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(Line(stop_after=4), phases, tmp_path / "cut")
    cut = Line()
    fit(cut, phases, tmp_path / "cut")
    assert cut.validations == 5  # four were done before the cut: two of phase one and all of phase two remain
    whole, resumed = (load_file(tmp_path / name / "best.safetensors") for name in ("whole", "cut"))
    for name, value in whole.items():
        torch.testing.assert_close(value, resumed[name])


def test_appended_phases_continue_a_finished_run(tmp_path: Path) -> None:
    longer = Phase("again", 3, 0.01, 16)
    fit(Line(), [PHASE], tmp_path, fingerprint="a")
    task = Line()
    fit(task, [PHASE, longer], tmp_path, fingerprint="a")
    assert task.validations == 3
    again = Line()
    fit(again, [PHASE, longer], tmp_path, fingerprint="a")
    assert again.validations == 0


def test_the_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(Line(stop_after=2), [PHASE], tmp_path, fingerprint="a")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r"other data, options, seed or precision \(give another folder, or delete"):
        fit(Line(), [PHASE], tmp_path, fingerprint="b")
    for phases in ([replace(PHASE, lr=0.01)], [replace(PHASE, epochs=7)], [Phase("new", 1, 0.1, 8), PHASE], []):
        with pytest.raises(ConfigError, match="holds a run whose phase 1 was another one"):
            fit(Line(), phases, tmp_path, fingerprint="a")
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    fit(Line(), [PHASE], tmp_path, fingerprint="a")


def test_a_folder_without_fingerprint_is_taken_on(tmp_path: Path) -> None:
    fit(Line(), [PHASE], tmp_path)
    record = json.loads((tmp_path / "progress.json").read_text())
    del record["fingerprint"], record["phases"]  # as folders of older versions have it
    (tmp_path / "progress.json").write_text(json.dumps(record))
    longer = Phase("again", 1, 0.01, 16)
    fit(Line(), [PHASE, longer], tmp_path, fingerprint="a")
    with pytest.raises(ConfigError, match="holds a run of other"):
        fit(Line(), [PHASE, longer], tmp_path, fingerprint="b")


def test_fingerprints_of_phases_are_those_of_their_settings() -> None:
    assert PHASE.fingerprint == Phase("all", 6, 0.03, 8, ema=0.9, clip=1.0).fingerprint
    others = [replace(PHASE, **change) for change in ({"lr": 0.02}, {"freeze": ("0",)}, {"options": {"mixup": 0.1}})]
    assert len({phase.fingerprint for phase in [PHASE, *others]}) == 4


def test_frozen_parameters_do_not_move(tmp_path: Path) -> None:
    task = Line()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    fit(task, [Phase("head", 2, 0.05, 8, freeze=("0\\.",))], tmp_path)
    after = load_file(tmp_path / "best.safetensors")
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["2.weight"], after["2.weight"])


def test_refuses_to_choose_on_a_test_split(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must not be chosen on a test split"):
        fit(Line("test"), [PHASE], tmp_path)
    fit(Line("test"), [Phase("p", 1, 0.01, 8)], tmp_path, allow_test_selection=True)


def test_unknown_selection_metric_is_named(tmp_path: Path) -> None:
    task = Line()
    task.select = "accuracy"
    with pytest.raises(ConfigError, match="accuracy: is not among the validation metrics"):
        fit(task, [PHASE], tmp_path)


def test_infinite_loss_stops_with_the_step(tmp_path: Path) -> None:
    class Broken(Line):
        def losses(self, model: nn.Module, batch: Mapping[str, Tensor], phase: Phase) -> dict[str, Tensor]:
            return {"error": model(batch["x"]).sum() * float("inf")}

    with pytest.raises(FloatingPointError, match="step 0"):
        fit(Broken(), [PHASE], tmp_path)


def test_idle_patterns_and_empty_phases_are_errors() -> None:
    model = Line().model
    with pytest.raises(ValueError, match="no parameter matches 'trunk'"):
        select_parameters(model, Phase("p", 1, 0.1, 8, freeze=("trunk",)))
    with pytest.raises(ValueError, match="trains nothing"):
        select_parameters(model, Phase("p", 1, 0.1, 8, freeze=("",)))


def test_parameter_groups_follow_depth_rates_and_spare_vectors() -> None:
    model = Line().model
    phase = Phase("p", 1, 0.1, 8, weight_decay=0.5, layer_decay=0.5, rates={"2\\.": 3.0})
    groups = parameter_groups(model, phase, lambda name: 1 if name.startswith("0") else 0)
    found = {(round(g["lr"], 6), g["weight_decay"], len(g["params"])) for g in groups}
    assert found == {(0.05, 0.5, 1), (0.05, 0.0, 1), (0.3, 0.5, 1), (0.3, 0.0, 1)}


def test_schedule_rises_then_falls_to_its_floor() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=1.0)
    schedule = rate_schedule(optimizer, Phase("p", 1, 1.0, 8, warmup=0.1, final_lr=0.05), 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[-1] == pytest.approx(0.05, abs=0.01)


def test_schedule_in_steps_and_constant() -> None:
    def rates(phase: Phase) -> list[float]:
        optimizer = build_optimizer([{"params": [nn.Parameter(torch.zeros(1))], "lr": phase.lr}], phase)
        assert isinstance(optimizer, torch.optim.SGD)
        schedule = rate_schedule(optimizer, phase, 40)
        found = []
        for _ in range(40):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return found

    steps = Phase("p", 4, 1.0, 8, warmup=0.0, optimizer="sgd", schedule="steps", decay=0.5, decay_every=2)
    assert rates(steps) == [1.0] * 20 + [0.5] * 20
    at = Phase("p", 4, 1.0, 8, warmup=0.0, optimizer="sgd", schedule="steps", decay=0.5, milestones=(1, 3))
    assert rates(at) == [1.0] * 10 + [0.5] * 20 + [0.25] * 10
    assert set(rates(Phase("p", 4, 2.0, 8, warmup=0.0, optimizer="sgd", schedule="constant"))) == {2.0}


def test_patience_ends_a_phase_that_no_longer_gets_better(tmp_path: Path) -> None:
    still = Phase("still", 9, 1e-9, 8, weight_decay=0.0, optimizer="sgd", momentum=0.0, schedule="constant", patience=2)
    fit(Line(), [still], tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert 3 <= len(lines) < 9

"""Runs the command in this process, with the fake models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Result:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def affectus(
    fake_models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """`affectus("analyze", path, ...)` runs the command line."""
    monkeypatch.setenv("AFFECTUS_MODELS", str(fake_models))
    monkeypatch.delenv("AFFECTUS_DEBUG", raising=False)

    def run(*arguments: object) -> Result:
        from affectus.app.cli import main

        monkeypatch.setattr(sys, "argv", ["affectus", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        code = ended.value.code
        return Result(code if isinstance(code, int) else int(bool(code)), captured.out, captured.err)

    return run

"""The example of docs/adding-a-system.md, taken from the page as it stands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def example() -> dict[str, str]:
    """Path → content of the three files that the page shows."""
    page = (ROOT / "docs" / "adding-a-system.md").read_text(encoding="utf-8")
    section = page.split("## A system on the language model")[1].split("\n## ")[0]
    paths = [path for path in re.findall(r"`([\w/.]+\.(?:py|txt|yaml))`", section) if "glance" in path]
    blocks = re.findall(r"```\w+\n(.*?)```", section, re.DOTALL)
    return dict(zip(dict.fromkeys(paths), blocks, strict=False))


@pytest.mark.slow
def test_a_seventh_system_is_one_file_one_prompt_folder_and_one_recipe(tmp_path: Path) -> None:
    files = example()
    assert [Path(path).suffix for path in files] == [".py", ".txt", ".yaml"]
    weights = shutil.ignore_patterns("*.onnx", "*.npz", "__pycache__")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=weights)
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    code = (
        "from affectus.app.cli import main; import sys; from affectus.systems import registry; registry.write_index();"
        "sys.argv = ['affectus', 'train', 'recipes/glance/tiny.yaml', '--out', 'runs']; main()"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "runs" / "model" / "model.safetensors").stat().st_size > 1000
    assert '"glance"' in (tmp_path / "src" / "affectus" / "systems" / "index.json").read_text(encoding="utf-8")

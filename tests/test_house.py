"""The house itself: cheap import, no torch in the core, README in step with the cards."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import affectus
from affectus.models import package

ROOT = Path(__file__).parents[1]


def test_importing_affectus_loads_nothing_heavy() -> None:
    code = (
        "import sys, affectus, affectus.types, affectus.errors;"
        "print(sorted({'torch','numpy','pandas','pyarrow','cv2','onnxruntime','plotly','rich'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(eval(out)) <= {"numpy"}


def test_public_names_exist() -> None:
    for name in affectus.__all__:
        assert getattr(affectus, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'emotions'"):
        affectus.emotions  # noqa: B018


def test_citation_and_version_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == affectus.__version__


def test_readme_table_is_the_one_of_the_cards() -> None:
    shipped = [name for name in package.NAMES if (Path(package.__file__).parent / "weights" / name).is_dir()]
    if not shipped:
        pytest.skip("no models are shipped in this checkout")
    from affectus.app.catalogue import models_markdown

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- models -->\n(.*?)<!-- /models -->", readme, re.DOTALL)
    assert table is not None
    assert table[1].strip() == models_markdown().strip()


@pytest.mark.parametrize("name", ["context", "gap"])
def test_readings_were_made_on_the_words_model_that_ships(name: str) -> None:
    weights = Path(package.__file__).parent / "weights"
    if not (weights / "words").is_dir():
        pytest.skip("no models are shipped in this checkout")
    words, reading = (json.loads((weights / n / "card.json").read_text(encoding="utf-8")) for n in ("words", name))
    assert reading["backbone"]["weights"] == words["files"]["model.onnx"]


def test_source_files_stay_short_and_well_named() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
        assert path.stem not in {"utils", "util", "helpers", "helper", "misc", "common"}, path


def test_shipped_models_are_small() -> None:
    weights = Path(package.__file__).parent / "weights"
    sizes = {path: path.stat().st_size / 1e6 for path in weights.rglob("*.onnx")}
    assert sum(sizes.values()) <= 60
    limits = {"face": 12, "voice": 14, "words": 25}
    for path, megabytes in sizes.items():
        assert megabytes <= limits.get(path.parent.name, 60), path

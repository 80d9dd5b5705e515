"""Result records as files, the scoreboard made of them, and the benchmarks' own data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectus import corpora, evaluation, labels
from affectus.errors import ConfigError
from affectus.evaluation.board import boards
from affectus.evaluation.record import plain, read_record, skip_list
from affectus.evaluation.scoring import _TASKS


def record(**fields: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "model": "mine",
        "corpus": "meld",
        "split": "test",
        "n": 10,
        "metrics": {"weighted_f1": {"value": 0.6, "low": 0.5, "high": 0.7}},
        "headline": "weighted_f1",
        "skipped": [],
    }
    return base | fields


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write records under numbered names."""

    def make(**fields: Any) -> Path:
        return evaluation.write_record(record(**fields), tmp_path / f"{len(list(tmp_path.iterdir()))}.json")

    return make


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    made = evaluation.Record.model_validate(record(left_out={"no label": 3}, environment=evaluation.environment()))
    path = evaluation.write_record(made, tmp_path / "r.json")
    assert evaluation.read_record(path) == made
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.json"]  # nothing half-written is left


def test_damaged_records_are_named_with_their_field(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text("{")
    with pytest.raises(ConfigError, match=r"r\.json: is no JSON"):
        evaluation.read_record(file)
    file.write_text(json.dumps({k: v for k, v in record().items() if k != "n"}))
    with pytest.raises(ConfigError, match="is no result record: n: Field required"):
        evaluation.read_record(file)
    file.write_text(json.dumps(record(mood="good")))
    with pytest.raises(ConfigError, match="mood: Extra inputs are not permitted"):
        evaluation.read_record(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        evaluation.read_record(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="cannot be written"):
        evaluation.write_record(record(), tmp_path / "no" / "folder" / "r.json")


def test_numbers_that_json_lacks_become_null() -> None:
    held = {"a": np.float64("nan"), "b": np.array([1, 2]), "c": (np.int64(3), float("inf")), 4: True}
    assert plain(held) == {"a": None, "b": [1, 2], "c": [3, None], "4": True}


def test_long_lists_of_skipped_items_are_cut_with_their_number() -> None:
    found = skip_list([(str(i), "broken") for i in range(7)], limit=5)
    assert len(found) == 6
    assert found[-1] == {"item": "…", "reason": "2 more"}


def test_variants_and_table_versions_never_share_a_board(save: Callable[..., Path]) -> None:
    published = [{"system": "Theirs", "metric": "weighted_f1", "value": 70.44, "unit": "percent", "source": "paper"}]
    paths = [
        save(benchmark="meld", variant="published", published=published),
        save(benchmark="meld", variant="strict"),
        save(benchmark="meld", variant="published", published=published, tables={"wheels": "mer2025"}),
        save(benchmark="meld", variant="published", published=published, model="other"),
    ]
    made = boards([evaluation.read_record(path) for path in paths])
    assert [len([row for row in board.rows if row[0] == "ours"]) for board in made] == [2, 1, 1]
    strict = next(board for board in made if "strict" in board.title)
    assert not [row for row in strict.rows if row[0] == "published"]
    assert "No published number follows this rule" in strict.rule


def test_markdown_puts_printed_numbers_in_the_same_unit(save: Callable[..., Path]) -> None:
    published = [
        {"system": "A", "metric": "weighted_f1", "value": 70.44, "unit": "percent", "source": "paper"},
        {"system": "B", "metric": "weighted_f1", "value": 0.65, "unit": "fraction", "source": "paper"},
    ]
    path = save(
        benchmark="meld",
        variant="published",
        published=published,
        baselines={"majority": {"weighted_f1": 0.31}},
        model="a|b",
    )
    text = evaluation.scoreboard([path])
    assert "60.00 [50.00, 70.00]" in text
    assert text.index("70.44") < text.index("65.00")  # better ones first
    assert "31.00" in text
    assert "a\\|b" in text
    widths = {line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_a_system_stands_beside_what_its_card_prints_for_that_corpus(save: Callable[..., Path]) -> None:
    card = [
        {"corpus": "meld", "metric": "weighted_f1", "value": 0.6671, "protocol": "text, test split", "source": "paper"},
        {"corpus": "iemocap", "metric": "weighted_f1", "value": 0.6986, "protocol": "test", "source": "paper"},
    ]
    rows = boards([read_record(save(published=card, model="one")), read_record(save(published=card, model="two"))])[0]
    printed = [row for row in rows.rows if row[0] == "published"]
    assert [row[1] for row in printed] == ["one as printed", "two as printed"]
    assert {row[3][0] for row in printed} == {"66.71"}
    assert {row[4] for row in printed} == {"text, test split; paper"}


def test_the_records_of_this_repository_make_boards() -> None:
    files = sorted((Path(__file__).parents[2] / "results" / "systems").glob("*.json"))
    text = evaluation.scoreboard(files)
    assert all(f"**{read_record(file).model} " in text for file in files)


def test_html_is_one_escaped_page(save: Callable[..., Path]) -> None:
    page = evaluation.scoreboard(
        [save(model="<script>x</script>"), save(model="better", metrics={"weighted_f1": {"value": 0.9}})], "html"
    )
    assert "<script>" not in page
    assert page.index("better") < page.index("&lt;script&gt;")

    class Cells(HTMLParser):
        rows: list[int]

        def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
            if tag == "tr":
                self.rows.append(0)
            elif tag in ("td", "th"):
                self.rows[-1] += 1

    parser = Cells()
    parser.rows = []
    parser.feed(page)
    assert len(set(parser.rows)) == 1


def test_nothing_or_an_unknown_form_is_refused(save: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="no records were given"):
        evaluation.scoreboard([])
    with pytest.raises(ConfigError, match="is no form"):
        evaluation.scoreboard([save()], "pdf")  # type: ignore[arg-type]


@pytest.mark.parametrize("entry", evaluation.benchmarks(), ids=lambda entry: entry.name)
def test_every_benchmark_is_complete(entry: Any) -> None:
    assert entry.members or entry.task in _TASKS
    assert entry.published.rule
    assert entry.strict.rule
    assert entry.strict.selection
    assert not entry.strict.selection.startswith("best")  # nothing is chosen on the test set
    if entry.space:
        labels.space(entry.space).variant(entry.order or None)
    for member in entry.members:
        assert evaluation.benchmark(member).headline
    if entry.task not in ("suite", "subtasks"):
        assert entry.corpus in corpora.names()
    for result in entry.results:
        assert set(result) <= {"system", "metric", "value", "unit", "variant", "source"}
        assert result["unit"] in ("percent", "fraction", "score")
        assert 0 < result["value"] <= {"percent": 100, "fraction": 1, "score": 10}[result["unit"]]


def test_all_presets_are_there() -> None:
    names = {entry.name for entry in evaluation.benchmarks()}
    sets = ("mer2023", "mer2024", "meld", "iemocap", "mosi", "mosei", "sims", "simsv2", "ovmerd-plus")
    assert {f"mer-unibench/{name}" for name in sets} <= names
    assert {
        "vecbench", "mvei", "ca-mer", "emer", "dfew", "mafw", "ferv39k", "crema-d", "ravdess", "meld", "iemocap6",
        "emorynlp", "rafdb", "affectnet7", "affectnet8", "ferplus", "cross-dataset/8way", "cross-dataset/present-only",
        "emoset", "oasis", "raer", "goemotions", "emobank", "wrime/hidden-anger", "charades-sta", "refcoco/val",
        "lamem", "koniq", "vce", "visualness", "videomind",
    } <= names  # fmt: skip


def test_the_published_mean_of_nine_is_the_mean_of_its_members() -> None:
    nine = [evaluation.benchmark(name) for name in evaluation.benchmark("mer-unibench").members]
    printed = [next(r["value"] for r in entry.results if r["system"] == "AffectGPT") for entry in nine]
    whole = next(r["value"] for r in evaluation.benchmark("mer-unibench").results if r["system"] == "AffectGPT")
    assert np.mean(printed) == pytest.approx(whole, abs=0.005)


def test_scoring_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,label,prediction\na,joy,joy\nb,fear,joy\n")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from affectus import evaluation\n"
        f"print(evaluation.score('meld', {str(tmp_path / 't.csv')!r})['metrics']['accuracy']['value'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert done.stdout.strip() == "0.5", done.stderr

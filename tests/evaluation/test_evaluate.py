"""`evaluate` on tiny corpora: right numbers, right rows, honest about what it left out."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectus import corpora, evaluation
from affectus.errors import ConfigError, CorpusError, LabelError, ModelError
from affectus.labels import space
from affectus.models.package import file_hash, model_folder

from .conftest import FakeModel, OracleModel

Install = Callable[[Any], Any]
Tiny = Callable[[str], Path]


def test_words_on_goemotions_has_the_promised_shape(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("words"))
    record = evaluation.evaluate("words", "goemotions", tiny("goemotions"), "test")
    assert (record["model"], record["corpus"], record["split"], record["n"]) == ("words", "goemotions", "test", 12)
    assert {"macro_f1", "micro_f1", "accuracy", "ece", "nll"} <= set(record["metrics"])
    for entry in record["metrics"].values():
        assert entry["low"] <= entry["high"]
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert evaluation.Record.model_validate(record).n == 12


def test_perfect_words_model_scores_one_whatever_the_order_of_its_labels(use_model: Install, tiny: Tiny) -> None:
    corpus = corpora.load("goemotions", tiny("goemotions"))
    known = dict(zip(corpus.column("text"), corpus.column("labels:goemotions28"), strict=True))
    order = tuple(reversed(space("goemotions28").labels))
    use_model(OracleModel("words", lambda text: dict.fromkeys(known[text], 0.9), labels=order))
    metrics = evaluation.evaluate("words", "goemotions", corpus.files.root)["metrics"]
    assert metrics["micro_f1"]["value"] == 1
    assert metrics["accuracy"]["value"] == 1
    # every decision is right, and only those of given labels are unsure
    share = np.mean([len(labels) for labels in known.values()]) / 28
    assert metrics["ece"]["value"] == pytest.approx(0.1 * share, abs=0.002)


def test_labels_not_of_the_space_are_refused(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("words", labels=[f"emotion {i}" for i in range(28)]))
    with pytest.raises(LabelError, match="not those of its label space"):
        evaluation.evaluate("words", "goemotions", tiny("goemotions"))


def test_faces_without_a_majority_are_left_out_and_counted(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("face"))
    record = evaluation.evaluate("face", "ferplus", tiny("ferplus"), "test")  # 8 pictures, a tie and an unknown
    assert record["n"] == 6
    assert sum(record["left_out"].values()) == 2
    assert record["target"] == "label:ferplus8"
    assert np.array(record["confusion"]).sum() == 6


def test_a_face_archive_is_read_in_place(use_model: Install, tiny: Tiny, tmp_path: Path) -> None:
    use_model(FakeModel("face"))
    plain = evaluation.evaluate("face", "ferplus", tiny("ferplus"), "test")
    archive = tmp_path / "FER2013Test.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "ferplus" / "FER2013Test", "FER2013Test")
    packed = evaluation.evaluate("face", "ferplus", archive, "all")
    assert packed["metrics"] == plain["metrics"]


def test_broken_pictures_are_listed_and_the_rest_is_scored(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("face"))
    root = tiny("ferplus")
    broken = sorted((root / "FER2013Test").glob("*.png"))[:2]
    for file in broken:
        file.write_bytes(b"no picture")
    record = evaluation.evaluate("face", "ferplus", root, "test")
    assert record["n"] == 4
    assert [Path(entry["item"]).name for entry in record["skipped"]] == [file.name for file in broken]


def test_nothing_readable_is_one_clear_error(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("face"))
    root = tiny("ferplus")
    for file in root.rglob("*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(CorpusError, match="no item that the face model can read; first: is not a picture of a known"):
        evaluation.evaluate("face", "ferplus", root)


def test_voices_are_resampled_by_actor(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("voice"))
    record = evaluation.evaluate("voice", "ravdess", tiny("ravdess"))
    assert record["n"] == 120
    assert record["interval"]["over"] == "group:subject"
    assert record["interval"]["groups"] == 2
    assert record["headline"] == "uar"
    assert record["baselines"]["majority"]["uar"] == pytest.approx(1 / 8)


def test_songs_and_second_copies_of_a_voice_are_not_counted(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("voice"))
    root = tiny("ravdess")
    for name, new in (
        ("03-01-02-01-01-01-01", "03-02-02-01-01-01-01"),
        ("03-01-02-01-01-01-01", "01-01-02-01-01-01-01"),
    ):
        (root / "Actor_01" / f"{new}.wav").write_bytes((root / "Actor_01" / f"{name}.wav").read_bytes())
    record = evaluation.evaluate("voice", "ravdess", root)
    assert record["n"] == 120
    assert sum(record["left_out"].values()) == 2


def test_combined_ratings_come_first_and_the_others_are_named(use_model: Install, tiny: Tiny) -> None:
    corpus = corpora.load("emobank", tiny("emobank"))
    rated = dict(zip(corpus.column("text"), corpus.column("dim:valence"), strict=True))
    use_model(OracleModel("words", lambda text: {"valence": rated[text]}))
    record = evaluation.evaluate("words", "emobank", corpus.files.root, "all")
    assert record["target"] == "dim:*"
    assert record["metrics"]["ccc_valence"]["value"] == pytest.approx(1)
    assert {"pcc_valence_evoked", "pcc_arousal_expressed", "pcc_dominance"} <= set(record["metrics"])
    assert record["baselines"]["mean"]["pcc_valence"] == 0


def test_without_readers_the_mixed_ratings_are_the_target(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("words"))
    root = tiny("emobank")
    (root / "reader.csv").unlink()
    (root / "writer.csv").unlink()
    record = evaluation.evaluate("words", "emobank", root)
    assert record["target"] == "dim:*"
    assert not any(name.endswith("_mixed") for name in record["metrics"])


def test_scene_intervals_are_checked_for_coverage(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("scene"))
    record = evaluation.evaluate("scene", "oasis", tiny("oasis"))
    assert record["metrics"]["coverage_valence"]["value"] == 1  # the stand-in is unsure by ±2
    assert record["metrics"]["width_valence"]["value"] == pytest.approx(4)
    assert record["interval"]["over"] == "group:theme"


def test_other_corpora_are_scored_through_a_map_with_its_loss(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("voice"))
    record = evaluation.evaluate("voice", "crema_d", tiny("crema_d"))
    assert "calm is counted as neutral" in record["mapping"]["loss"]
    assert "surprise" not in record["labels"]  # CREMA-D has none, so the model does not choose it
    assert record["mapping"]["corpus"]["from"] == "cremad6"
    use_model(FakeModel("words"))
    record = evaluation.evaluate("words", "meld", tiny("meld"))
    assert record["target"] == "label:meld7"
    assert set(record["labels"]) == set(space("meld7").labels)


def test_a_mapped_oracle_is_right_everywhere(use_model: Install, tiny: Tiny) -> None:
    corpus = corpora.load("meld", tiny("meld"))
    known = dict(zip(corpus.column("text"), corpus.column("label:meld7"), strict=True))
    use_model(OracleModel("words", lambda text: {known[text]: 0.95}))
    assert evaluation.evaluate("words", "meld", corpus.files.root)["metrics"]["accuracy"]["value"] == 1


def test_a_column_can_be_chosen_and_must_be_a_label(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("words"))
    root = tiny("meld")
    assert evaluation.evaluate("words", "meld", root, column="label:sentiment3")["target"] == "label:sentiment3"
    with pytest.raises(ConfigError, match="is no label column"):
        evaluation.evaluate("words", "meld", root, column="text")
    with pytest.raises(CorpusError, match="no column 'label:mood'"):
        evaluation.evaluate("words", "meld", root, column="label:mood")


def test_training_data_in_the_test_is_said(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("face", data=[{"name": "ferplus"}]))
    root = tiny("ferplus")
    assert any("no test score" in note for note in evaluation.evaluate("face", "ferplus", root, "all")["notes"])
    assert not any("no test score" in note for note in evaluation.evaluate("face", "ferplus", root, "test")["notes"])


def test_a_model_that_fits_no_column_is_refused(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("scene"))
    with pytest.raises(ConfigError, match="there is nothing to score"):
        evaluation.evaluate("scene", "ferplus", tiny("ferplus"))


def test_a_split_that_is_not_there_names_those_that_are(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("scene"))
    with pytest.raises(CorpusError, match="has no split 'test'"):
        evaluation.evaluate("scene", "oasis", tiny("oasis"), "test")


def test_video_clips_are_scored_by_their_frames(use_model: Install, tiny: Tiny) -> None:
    model = use_model(FakeModel("face"))
    record = evaluation.evaluate("face", "dfew", tiny("dfew"))
    assert record["n"] < len(model.seen)  # several frames per clip
    assert record["labels"] == list(space("dfew7").labels)


def test_progress_counts_every_item_once(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("voice"))
    seen: list[tuple[int, int]] = []
    evaluation.evaluate("voice", "ravdess", tiny("ravdess"), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (120, 120)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.corpus
def test_real_goemotions_dev_has_the_published_rows(use_model: Install, shared_data: Path) -> None:
    use_model(FakeModel("words"))
    record = evaluation.evaluate("words", "goemotions", shared_data / "goemotions", "dev")
    assert record["n"] == 5426
    assert record["baselines"]["most_frequent_label"]["macro_f1"] < 0.05


@pytest.mark.parametrize(
    ("model", "corpus", "metrics"),
    [
        ("face", "ferplus", {"accuracy", "uar", "ece", "nll"}),
        ("voice", "ravdess", {"accuracy", "uar", "ece", "nll"}),
        ("words", "goemotions", {"macro_f1", "ece", "nll"}),
        ("words", "emobank", {"pcc_valence", "pcc_arousal", "pcc_dominance", "ccc_valence"}),
        ("scene", "oasis", {"pcc_valence", "pcc_arousal", "ccc_valence", "coverage_valence"}),
    ],
)
def test_shipped_models_run_on_their_corpora(model: str, corpus: str, metrics: set[str], tiny: Tiny) -> None:
    try:
        weights = model_folder(model)
    except ModelError:
        pytest.skip(f"the {model} model is not packaged in this checkout")
    record = evaluation.evaluate(model, corpus, tiny(corpus), "all")
    assert metrics <= set(record["metrics"])
    assert record["weights"]["model.onnx"] == file_hash(weights / "model.onnx")
    assert not record["skipped"]


def test_a_corpus_of_another_modality_is_named_as_such(use_model: Install, tiny: Tiny) -> None:
    use_model(FakeModel("face"))
    with pytest.raises(CorpusError, match=r"holds no file that the face model can read \(\d+ items\)"):
        evaluation.evaluate("face", "goemotions", tiny("goemotions"))

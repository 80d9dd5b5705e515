"""Every recipe of EmotionTalk from files in the published layout to its record: one short epoch on drawn vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from affectus import corpora
from affectus.corpora.synthetic import EMOTIONS, Tiny
from affectus.errors import ConfigError, CorpusError
from affectus.evaluation.captioned import caption_record
from affectus.evaluation.missing import missing_scores
from affectus.evaluation.systems import evaluate_system, record_run
from affectus.lm.instructions import CAPTIONED
from affectus.metrics import acc5, sentiment_f1
from affectus.systems.captioning import CaptionConfig
from affectus.systems.emotiontalk import Config, EmotionTalk, SpeechCaption
from affectus.training.run import train

RECIPES = Path(__file__).parents[2] / "recipes" / "emotiontalk"
NAMES = {"train": "G00009_42_14_", "val": "G00001_02_13_", "test": "G00003_56_12_"}
WIDTHS = {"chinese-hubert-base": 768, "chinese-hubert-large": 1024, "Baichuan-7B-base": 4096,
          "clip-vit-large-patch14": 768}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "emotiontalk-frames": {"hidden": 16, "layers": 1},
    "emotiontalk-aligned": {"hidden": 16},
    "emotiontalk-caption": {"preset": "tiny"},
}


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """42 utterances in three sessions with labels, transcripts, sounds, captions and vectors of all encoders."""
    root = tmp_path_factory.mktemp("emotiontalk")
    tiny, random = Tiny(root), np.random.default_rng(0)
    for archive in ("mm", "audio", "txt", "video"):
        tiny.npz(f"{archive}_label.npz", {f"{part}_corpus": {
            f"{stem}{k:03d}": {"emo": k % 7, "val": 0.2 * (k % 7) - 0.8 if archive == "mm" else -10} for k in range(14)}
            for part, stem in NAMES.items()})  # fmt: skip
    ids = [f"{stem}{k:03d}" for stem in NAMES.values() for k in range(14)]
    tiny.table("transcription.csv", ("name", "emotion", "chinese"), [(f"G/s/{i}", "neutral", f"说{i}") for i in ids])
    for k, name in enumerate(ids):
        tiny.audio(f"Audio/wav/{name}.wav", EMOTIONS[k % 7])
        tiny.json(f"Audio/json/{name}.json", {"sourceAttr": {a: f"{a}{k % 7}" for a in CAPTIONED}})
        for encoder, width in WIDTHS.items():
            for kind, shape in (("UTT", (width,)), ("FRA", (12 + k % 5, width))):
                file = root / "features" / f"{encoder}-{kind}" / f"{name}.npy"
                file.parent.mkdir(parents=True, exist_ok=True)
                if (encoder, k) != ("clip-vit-large-patch14", 41):  # nobody is seen in the last utterance
                    np.save(file, random.normal(size=shape).astype("f4"))
    return root


def ran(name: str, root: Path, folder: Path) -> dict[str, Any]:
    """The record of a recipe whose networks are made small and whose phases have one epoch."""
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
    if name == "emotiontalk-caption":
        recipe["options"]["config"] = SMALL[name]
    elif name in SMALL:
        config = recipe["options"]["config"]
        recipe["options"]["config"] = ({"preset": config} if isinstance(config, str) else config) | SMALL[name]
    phase = {"name": "one", "epochs": 1, "lr": 1e-3, "batch_size": 14}
    recipe["phases"] = [phase | {"options": {"mix": {f"caption_{a}": 1.0 for a in CAPTIONED}}}]
    if "session" in str(recipe["options"]["validation"]):
        recipe["options"]["validation"] = "valid"  # the session that is held out there is none of these
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    train(path, {"emotiontalk": root}, folder / "run")
    return record_run(path, {"emotiontalk": root}, folder / "run")


@pytest.mark.parametrize("name", sorted(p.stem for p in RECIPES.glob("emotiontalk*.yaml")))
def test_recipe_leads_to_a_record(name: str, talk: Path, tmp_path: Path) -> None:
    record = ran(name, talk, tmp_path)
    assert record["n"] == (13 if name == "emotiontalk-video" else 8 if name == "emotiontalk-four" else 14)
    assert record["headline"] in record["metrics"]
    if "sentiment" in name:
        assert {"mse", "acc5", "sentiment_f1", "acc2", "ccc_sentiment"} <= set(record["metrics"])
        assert record["baselines"]["mean"]["mse"] == pytest.approx(0.16, abs=1e-6)  # variance of the drawn ratings
    elif "caption" in name:
        assert set(record["metrics"]) == {
            f"{m}_{a}" for m in ("bleu4", "rouge_l", "meteor", "cider") for a in CAPTIONED
        }
        assert len((tmp_path / "run" / "captions-style.jsonl").read_text(encoding="utf-8").splitlines()) == 14
    else:
        assert record["headline"] == "weighted_f1"
        assert 0 <= record["baselines"]["linear"]["weighted_f1"] <= 1
    asked = name in ("emotiontalk-missing", "emotiontalk-aligned")
    assert ("missing" in record.get("parts", {})) == asked
    if asked:
        found = record["parts"]["missing"]
        assert len(found["conditions"]) == 8
        assert found["random"]["0"] == found["conditions"]["audio + text + video"]
        again = evaluate_system("emotiontalk", tmp_path / "run" / "model", "emotiontalk", talk, "test")
        assert again["parts"]["missing"] == found


def test_sentiment_of_a_record_is_on_the_published_scale() -> None:
    system = EmotionTalk(Config.tiny())
    truth = np.array([[0.9], [-0.2], [0.0], [np.nan]], "f4")
    guess = np.array([[0.8], [0.3], [-0.4], [0.1]], "f4")
    found = system.reported({"values": guess}, {"values": truth})
    kept = {name: metric(t[:3], g[:3]) for name, (metric, t, g) in found.items()}
    assert kept["mse"] == pytest.approx((0.2**2 + 1 + 0.8**2) / 3)
    assert kept["acc5"] == acc5([1.8, -0.4, 0.0], [1.6, 0.6, -0.8]) == pytest.approx(1 / 3)
    assert kept["sentiment_f1"] == sentiment_f1([1.8, -0.4], [1.6, 0.6])
    assert system.reported({"logits": guess}, {"label": np.zeros(4)}) == {}
    assert set(system.reported({"values": guess[2:]}, {"values": truth[2:]})) == {"mse", "acc5"}


def test_records_that_cannot_be_are_refused(tmp_path: Path) -> None:
    Tiny(tmp_path).npz("mm_label.npz", {"test_corpus": {"G00003_56_12_000": {"emo": 1, "val": 0.2}}})
    bare, system = corpora.load("emotiontalk", tmp_path, strict=False), SpeechCaption(CaptionConfig.tiny())
    with pytest.raises(CorpusError, match="no row with a caption"):
        caption_record(system, bare)
    with pytest.raises(ConfigError, match="name a label column"):
        missing_scores(EmotionTalk(Config.tiny()), [{"audio": np.zeros(12)}])  # type: ignore[arg-type]


def test_captions_that_are_the_truth_score_full_marks(talk: Path, tmp_path: Path) -> None:
    """The captions of a run that was cut off are found again, so a file of true ones stands for a perfect system."""
    test = corpora.load("emotiontalk", talk).split("test")
    for aspect in CAPTIONED:
        pairs = zip(test.column("id"), test.column(f"meta:caption_{aspect}"), strict=True)
        lines = [{"name": name, "kind": f"caption_{aspect}", "text": truth, "openset": [], "state": "ok"}
                 for name, truth in pairs]  # fmt: skip
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (tmp_path / f"captions-{aspect}.jsonl").write_text(text, encoding="utf-8")
    record = caption_record(SpeechCaption(CaptionConfig.tiny()), test, tmp_path)
    assert {entry.value for name, entry in record.metrics.items() if name.startswith("rouge_l")} == {1.0}
    assert record.baselines["most_frequent_caption"]["rouge_l_style"] < 1
    assert record.headline == "rouge_l_overall"
    assert record.notes == [f"{aspect}: 14 ok" for aspect in CAPTIONED]

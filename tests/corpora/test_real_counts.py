"""Counts and quirks that the publications state, on the real files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from affectus import corpora
from affectus.corpora.files import Files
from affectus.corpora.readers import emotiontalk, meld
from affectus.labels.restricted import load_npz
from affectus.metrics import accuracy, weighted_f1

pytestmark = pytest.mark.corpus


def test_meld_counts_dialogues_and_punctuation(shared_data: Path) -> None:
    dialogues = corpora.load("meld", shared_data / "meld")
    train, dev = dialogues.split("train"), dialogues.split("dev")
    assert (len(train), len(set(train.column("group:dialogue")))) == (9989, 1038)
    assert (len(dev), len(set(dev.column("group:dialogue")))) == (1109, 114)
    assert Counter(train.column("label:meld7")) == {
        "neutral": 4710, "joy": 1743, "surprise": 1205, "anger": 1109, "sadness": 683, "disgust": 271, "fear": 268,
    }  # fmt: skip
    assert Counter(train.column("label:sentiment3")) == {"neutral": 4710, "negative": 2945, "positive": 2334}
    assert max(Counter(train.column("group:dialogue")).values()) == 24
    assert "train/dia60" not in set(train.column("group:dialogue"))
    assert not any(0x7F <= ord(c) <= 0xA0 for text in dialogues.column("text") for c in text)
    assert min(dialogues.array("meta:episode_end") - dialogues.array("meta:episode_start")) > 0


def test_meld_mends_code_page_1252() -> None:
    assert meld.mend("It\x92s\xa0\x93fine\x94 \x96 really\x85") == "It’s “fine” – really…"


def test_meld_features_join_by_name_and_skip_the_unreadable_clip(shared_data: Path) -> None:
    dev = corpora.load("meld", shared_data / "meld", split="dev")
    ids = dev.column("id")
    found = meld.features(Files(shared_data / "meld_features"), ids)
    assert {name: values.shape for name, values in found.items()} == {
        "egemaps": (1109, 88), "audio_mel": (1109, 300), "audio_wav2vec2": (1109, 768), "text_base": (1109, 768),
    }  # fmt: skip
    lost = ids.index("dev/dia110_utt7")
    assert np.isnan(found["text_base"][lost]).all()
    assert np.isfinite(np.delete(found["text_base"], lost, 0)).all()
    # the joined text embedding must belong to the text: short and long turns differ more than chance allows
    same = [i for i, text in enumerate(dev.column("text")) if text == "What?" and i != lost]
    spread = found["text_base"][same].std(0).mean()
    assert spread < 0.5 * np.nanstd(found["text_base"], 0).mean()


def test_emorynlp_counts(shared_data: Path) -> None:
    scenes = corpora.load("emorynlp", shared_data / "emorynlp")
    assert (len(scenes.split("train")), len(scenes.split("valid"))) == (7551, 954)
    assert len(set(scenes.split("train").column("group:dialogue"))) == 659
    assert Counter(scenes.split("valid").column("label:emorynlp7"))["Neutral"] == 322
    assert "Carol Willick and Susan Bunch" in scenes.column("speaker")


@pytest.mark.parametrize(
    ("name", "folder", "counts"),
    [
        ("emocontext", "emocontext", {"train": 30160, "valid": 2755}),
        ("semeval2018", "semeval2018_ec", {"train": 6838, "valid": 886}),
        ("wrime", "wrime", {"valid": 1200, "test": 1200}),
        ("warriner", "warriner", {"train": 11463, "valid": 1296, "test": 1032}),
        ("emotiontalk", "emotiontalk", {"train": 15413, "valid": 1908, "test": 1929}),
        ("charades_sta", "charades_sta", {"train": 12404, "test": 3720}),
        ("charades_cg", "charades_sta", {"train": 8281, "test": 7233}),
        ("charades_cd", "charades_sta", {"test": 4198}),
        ("cmu_mosi", "open_vocabulary/labels", {"train": 1284, "valid": 229, "test": 686}),
        ("cmu_mosei", "open_vocabulary/labels", {"train": 16326, "valid": 1871, "test": 4659}),
    ],
)
def test_split_sizes(shared_data: Path, name: str, folder: str, counts: dict[str, int]) -> None:
    assert Counter(s for s in corpora.load(name, shared_data / folder).column("split") if s) == counts
    assert corpora.check(name, shared_data / folder, decode=False) == []


def test_warriner_has_words_without_a_split(shared_data: Path) -> None:
    words = corpora.load("warriner", shared_data / "warriner")
    assert len(words) == 13915
    assert words.row(0)["raw:valence"] == 6.26


def test_wrime_rounded_means_and_hidden_anger(shared_data: Path) -> None:
    posts = corpora.load("wrime", shared_data / "wrime")
    means, published = posts.array("scores:wrime8"), posts.array("meta:rounded_mean")
    assert np.abs(means - published).max() <= 0.5 + 1e-6  # the published integer is the rounded mean
    anger = posts.labels("scores:wrime8").index("anger")
    gap = posts.array("scores:wrime8@felt")[:, anger] - means[:, anger]
    assert gap.max() > 2
    assert len(set(posts.split("valid").column("group:writer"))) == 10


def test_emotiontalk_split_table_and_label_agreement(shared_data: Path) -> None:
    talk = corpora.load("emotiontalk", shared_data / "emotiontalk")
    order = ("neutral", "happy", "sad", "angry", "surprised", "disgusted", "fearful")
    expected = {
        "train": (5377, 2986, 919, 2950, 1367, 1142, 672),
        "valid": (675, 360, 111, 409, 133, 95, 125),
        "test": (801, 246, 123, 339, 161, 134, 125),
    }
    for split, counts in expected.items():
        found = Counter(talk.split(split).column("label:emotiontalk7"))
        assert tuple(found[label] for label in order) == counts
    test = talk.split("test")
    joint = np.array(test.column("label:emotiontalk7"))
    agreement = {s: (np.array(test.column(f"meta:{s}_label")) == joint).mean() for s in ("audio", "text", "video")}
    assert np.round(list(agreement.values()), 4).tolist() == [0.6879, 0.4318, 0.6594]
    assert np.allclose(talk.array("raw:sentiment") * 5, np.round(talk.array("raw:sentiment") * 5))
    shared = set(talk.split("valid").column("speaker")) & set(test.column("speaker"))
    assert shared == {"02", "13"}
    assert not any("[" in t or "]" in t for t in talk.column("text"))


def test_emotiontalk_majority_of_three_modalities_and_four_classes(shared_data: Path) -> None:
    talk = corpora.load("emotiontalk", shared_data / "emotiontalk")
    test = talk.split("test")
    order = {label: i for i, label in enumerate(talk.labels("label:emotiontalk7"))}
    truth = test.targets("label:emotiontalk7")
    audio, text, video = (
        np.array([order[label] for label in test.column(f"meta:{side}_label")]) for side in ("audio", "text", "video")
    )
    vote = np.where(text == video, text, audio)  # where all three differ, the sound decides
    assert accuracy(truth, vote, 7) == pytest.approx(0.7014, abs=5e-5)
    assert weighted_f1(truth, vote, 7) == pytest.approx(0.6908, abs=5e-5)
    seven, four = (load_npz(shared_data / "emotiontalk" / f"{name}.npz") for name in ("mm_label", "mm_label4"))
    for part, items in four.items():
        kept = {name: item["emo"] for name, item in seven[part].items() if item["emo"] < 4}
        assert {name: item["emo"] for name, item in items.items()} == kept


def test_emotiontalk_markup_is_removed() -> None:
    marked = "[over/]他都[/over]得[interrupted]知道[laughing]。[Sobbing][crying][screaming]好[over/"
    assert emotiontalk.clean(marked) == "他都得知道。好"


def test_emer_versions(shared_data: Path) -> None:
    clips = corpora.load("emer", shared_data / "emer")
    assert Counter(clips.column("meta:version")) == {1: 100, 2: 332}
    assert Counter(v for v in clips.column("label:mer6") if v) == {
        "angry": 36, "happy": 32, "worried": 17, "sad": 11, "surprise": 4,
    }  # fmt: skip


def test_open_vocabulary_lists(shared_data: Path) -> None:
    clips = corpora.load("ov_merd", shared_data / "open_vocabulary" / "mer2024")
    words = clips.column("labels:openset")
    assert Counter(map(len, words)) == {1: 13, 2: 97, 3: 94, 4: 61, 5: 36, 6: 19, 7: 4, 8: 6, 9: 2}
    counted = Counter(w for listed in words for w in listed)
    assert len(counted) == 248
    assert [w for w, _ in counted.most_common(3)] == ["angry", "happy", "joyful"]


def test_charades_videos_and_unseen_words(shared_data: Path) -> None:
    sentences = corpora.load("charades_sta", shared_data / "charades_sta")
    assert len(set(sentences.split("train").column("group:video"))) == 5336
    assert len(set(sentences.split("test").column("group:video"))) == 1334
    assert (sentences.array("end") > sentences.array("start")).all()
    novel = corpora.load("charades_cg", shared_data / "charades_sta")
    subsets = Counter(novel.column("meta:subset"))
    assert subsets == {"train": 8281, "trivial": 3096, "novel composition": 3442, "novel word": 695}
    assert sum(v is not None for v in novel.column("meta:unseen")) == 3442 + 695
    changed = corpora.load("charades_cd", shared_data / "charades_sta")
    assert Counter(changed.column("meta:subset")) == {"iid": 823, "ood": 3375}

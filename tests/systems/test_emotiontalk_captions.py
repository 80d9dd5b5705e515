"""Speech captions of EmotionTalk: aspects are asked for by name, scores of Chinese sentences, captions of a folder.

The published captions and decoders are gated or need a GPU; drawn tones and a random language model stand in.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from affectus import corpora
from affectus.corpora.readers import emotiontalk as reader
from affectus.corpora.synthetic import Tiny
from affectus.errors import ConfigError
from affectus.lm.instructions import CAPTIONED
from affectus.metrics.captions import characters_of
from affectus.systems.captioning import CaptionConfig, caption_scores
from affectus.systems.emotiontalk import SpeechCaption


def test_scores_of_chinese_sentences_go_by_characters() -> None:
    assert characters_of("他说Hello，世界123。") == ["他", "说", "hello", "世", "界", "123"]
    found = caption_scores([["今天天气很好啊", "今天很好"]], ["今天天气很好啊"])
    assert found["bleu4"] == found["rouge_l"] == 1.0
    half = caption_scores(["语气平静的人"], ["语气激烈的人"])
    assert half["rouge_l"] == pytest.approx(4 / 6)
    assert half["bleu4"] == 0.0


def test_aspects_are_asked_for_by_name() -> None:
    torch.manual_seed(0)
    system = SpeechCaption(CaptionConfig.tiny()).eval()
    batch = system.example(2)
    asked = [str(item["messages"]) for kind in CAPTIONED
             for item in system.conversations({"audio": batch["audio"]}, [f"caption_{kind}"] * 2)]  # fmt: skip
    assert len(set(asked)) == 4
    assert all(what in text for what, text in zip(CAPTIONED.values(), asked[::2], strict=True))
    drawn = system.augment(batch, system.phases()[0].options)["kind"]
    assert set(drawn) <= {f"caption_{aspect}" for aspect in CAPTIONED}
    with pytest.raises(ConfigError, match="no aspect"):
        system.captions(batch, "weather")
    with pytest.raises(ConfigError, match="audio"):
        system({"record": batch["record"]})


def test_captions_of_a_corpus(tmp_path: Path) -> None:
    reader.write_tiny(Tiny(tmp_path))
    talk, system = corpora.load("emotiontalk", tmp_path), SpeechCaption(CaptionConfig.tiny())
    with pytest.raises(ConfigError, match="no target of speech captions"):
        system.targets(talk, "captions")
    first = talk.column("id")[0]
    Tiny(tmp_path).json(f"Audio/json/{first}.json", {"sourceAttr": {"style": "语气平静", "emotion": ""}})
    talk = corpora.load("emotiontalk", tmp_path)
    records = system.targets(talk, "captions")["record"]
    assert records[0] == {"name": first, "caption_style": "语气平静"}
    assert all(record is None for record in records[1:])
    assert isinstance(records, np.ndarray)

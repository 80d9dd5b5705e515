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
from affectus.systems.base import Batch
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


ASKED = ("style", "emotion")


def trained(seed: int, heard: bool) -> SpeechCaption:
    """70 steps on 56 drawn tones; where nothing is `heard` their sounds lie in another order than their captions."""
    torch.manual_seed(seed)
    system = SpeechCaption(CaptionConfig.tiny()).train()
    batch = system.example(56, seed)
    sounds = batch["audio"] if heard else batch["audio"][torch.randperm(56)]
    optimizer = torch.optim.AdamW([p for p in system.parameters() if p.requires_grad], 1e-2)
    for _ in range(70):
        rows = torch.randperm(56)[:14]
        part = {"audio": sounds[rows], "record": [batch["record"][row] for row in rows]}
        part = system.augment(part, {"mix": {f"caption_{aspect}": 1.0 for aspect in ASKED}})
        optimizer.zero_grad()
        torch.stack(list(system.losses(part, system(part)).values())).sum().backward()
        optimizer.step()
    return system.eval()


def scored(system: SpeechCaption, test: Batch, truths: Batch) -> dict[str, float]:
    """Scores of the captions of sounds, mean over the aspects asked for; each must be written in its own form."""
    found = []
    for aspect, form in zip(ASKED, ("语气", "情绪"), strict=True):
        captions = system.captions(test, aspect)
        assert all(caption.startswith(form) for caption in captions), captions
        found.append(caption_scores([record[f"caption_{aspect}"] for record in truths["record"]], captions))
    return {name: float(np.mean([scores[name] for scores in found])) for name in found[0]}


@pytest.mark.learning
@pytest.mark.slow
def test_captions_follow_what_is_heard() -> None:
    """Fresh tones, against a decoder trained on the captions alone, and against its own captions of other tones."""
    found: dict[str, list[dict[str, float]]] = {"heard": [], "unheard": [], "other": []}
    for seed in range(3):
        system = trained(seed, heard=True)
        test = system.example(28, seed + 100)
        found["heard"].append(scored(system, test, test))
        found["other"].append(scored(system, {"audio": test["audio"].roll(1, 0)}, test))
        found["unheard"].append(scored(trained(seed, heard=False), test, test))
    for name in ("bleu4", "rouge_l", "cider"):
        heard = [scores[name] for scores in found["heard"]]
        for ablation in ("unheard", "other"):
            others = [scores[name] for scores in found[ablation]]
            assert min(heard) > max(others), (name, ablation, found)
    gain = {key: float(np.mean([scores["rouge_l"] for scores in found[key]])) for key in found}
    assert gain["heard"] > max(gain["unheard"], gain["other"]) + 0.1, gain


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

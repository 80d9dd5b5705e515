"""Requests for descriptions, the check of answers, and the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from affectus.errors import ConfigError
from affectus.lm import descriptions as d

GOOD: dict[str, Any] = {
    "face": "brows low and drawn together, lips pressed",
    "voice": "loud, fast, pitch rising at the ends",
    "agreement": "both are tense",
    "emotions": ["anger", "frustration"],
    "intensity": 4,
    "valence": -0.7,
    "arousal": 0.8,
    "confidence": 0.9,
    "description": "Brows drawn together and a loud, fast voice with rising pitch point to anger barely held back.",
}


def answer(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes})


@pytest.mark.sheet("8. Prompt parser accepts the JSON above")
def test_good_answers_are_read_also_from_a_code_fence() -> None:
    for text in (answer(), f"Here it is:\n```json\n{answer()}\n```"):
        found = d.check_answer(text, "clip1", model="m").found
        assert found is not None
        assert found.description == GOOD["description"]
        assert (found.intensity, found.valence, found.arousal, found.confidence) == (4, -0.7, 0.8, 0.9)
        assert found.emotions == ("anger", "frustration")
        assert found.answer == text
        assert len(found.prompt) == 64


@pytest.mark.sheet("8. Prompt parser rejects missing keys")
@pytest.mark.parametrize("key", list(GOOD))
def test_every_key_is_needed(key: str) -> None:
    checked = d.check_answer(json.dumps({k: v for k, v in GOOD.items() if k != key}), "clip1")
    assert checked.found is None
    assert key in checked.error


@pytest.mark.parametrize(("changes", "reason"), [
    ({"confidence": 0.4}, "below 0.5"),
    ({"valence": -1.5}, "valence is -1.5"),
    ({"intensity": "high"}, "intensity"),
    ({"emotions": "anger"}, "emotions"),
    ({"description": "  "}, "empty"),
    ({"description": "A loud voice says that the train is late."}, "what was said"),
    ({"description": "A 40-year-old with pressed lips."}, "who it is"),
])  # fmt: skip
def test_answers_that_break_the_rules_are_refused(changes: dict[str, Any], reason: str) -> None:
    assert reason in d.check_answer(answer(**changes), "clip1").error


@pytest.mark.parametrize("text", ["", "no JSON here", '{"face": "x"', answer() + "\n" + answer(face="other")])
def test_what_is_no_single_object_is_refused(text: str) -> None:
    assert d.check_answer(text, "clip1").error


@pytest.mark.sheet("8. Prompt parser never passes label words when hide_labels is on")
def test_label_words_of_the_target_set_are_hidden() -> None:
    text = answer(description="Angry brows, an angrily raised voice: ANGER, though not sadness or fearful tension.",
                  agreement="both show anger")  # fmt: skip
    found = d.check_answer(text, "clip1", hide_labels="cremad6").found
    assert found is not None
    shown = f"{found.description} {found.cues['agreement']} {' '.join(found.emotions)}".lower()
    for word in ("anger", "angr", "sadness", "fear"):
        assert word not in shown
    assert d.HIDDEN in found.description
    assert found.emotions == ("frustration",)
    plain = d.check_answer(text, "clip1", hide_labels=["sadness"]).found
    assert plain is not None
    assert "ANGER" in plain.description
    assert "sadness" not in plain.description


def test_the_request_tells_what_the_model_receives() -> None:
    both, sound = (d.description_request(c)[-1]["content"] for c in (("face", "voice"), ("voice",)))
    assert "the frames and the sound" in both
    assert "not given" not in both
    assert "You do not see the face" in sound
    assert all(f'"{key}"' in both for key in GOOD)
    with pytest.raises(ConfigError, match="no channels"):
        d.description_request(())


def test_the_store_keeps_the_last_of_each_clip(tmp_path: Path) -> None:
    first, second = (d.check_answer(answer(intensity=i), "clip1", ("voice",)).found for i in (1, 5))
    assert first is not None
    assert second is not None
    path = d.write_descriptions(tmp_path / "store.jsonl", [first])
    d.write_descriptions(path, [second])
    assert d.read_descriptions(path) == {"clip1": second}
    with path.open("a") as stream:
        stream.write('{"id": "clip2"}\n')
    with pytest.raises(ConfigError, match="line 3"):
        d.read_descriptions(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        d.read_descriptions(tmp_path / "absent.jsonl")

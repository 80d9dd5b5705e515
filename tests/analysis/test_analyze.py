"""`analyze` on one input of each kind, with the fake models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from affectus import analyze
from affectus.errors import AffectusError, ConfigError, MediaError
from affectus.types import Timeline

pytestmark = pytest.mark.assets


def facts(timeline: Timeline) -> dict:
    return next(iter(timeline.meta["files"].values()))


def spaces(timeline: Timeline) -> set[tuple[str, str]]:
    return {(row["source"], row["space"]) for row in timeline.to_rows()}


def shaded(face: np.ndarray, light: str) -> np.ndarray:
    """The photograph with one half of the face lit up, which the fake face model reads as an emotion."""
    ramp = np.linspace(0.3, 1.7, face.shape[0]) if light == "lower" else np.linspace(1.7, 0.3, face.shape[0])
    return np.clip(face * ramp[:, None, None], 0, 255).astype(np.uint8)


@pytest.fixture
def talk(make_video: Callable[..., Path], face: np.ndarray, speech: np.ndarray) -> Path:
    """Eight seconds: one face, lit from below, and speech."""
    picture = shaded(cv2.resize(face, (320, 320)), "lower")
    return make_video("talk.mp4", [picture] * 40, 5, speech[: 8 * 16000])


def test_a_video_with_face_and_speech(talk: Path, sound_timeline: Callable[[Timeline], None]) -> None:
    talk.with_suffix(".srt").write_text(
        "1\n00:00:00,500 --> 00:00:03,000\nAnna: I am so glad.\n\n2\n00:00:03,500 --> 00:00:07,000\nAnna: We wait.\n"
    )
    timeline = analyze(talk)
    sound_timeline(timeline)
    assert {
        ("face", "ferplus8"),
        ("face", "va"),
        ("face", "quality"),
        ("voice", "ravdess8"),
        ("words", "transcript"),
        ("words", "goemotions28"),
        ("scene", "va"),
        ("fusion", "ekman7"),
        ("fusion", "va"),
        ("fusion", "decision"),
        ("fusion", "explanation"),
    } <= spaces(timeline)
    about = facts(timeline)
    assert (about["kind"], about["width"], about["height"]) == ("video", 320, 320)
    assert about["missing"] == {}
    assert list(about["thumbnails"]) == ["0"]
    assert about["thumbnails"]["0"].startswith("data:image/jpeg;base64,")
    assert [card["name"] for card in timeline.meta["models"]] == ["face", "voice", "words", "scene"]
    assert timeline.meta["settings"]["fps"] == 5.0
    # the only face in view speaks, so voice and words are its own
    assert {row["track"] for row in timeline.filter(source=["voice", "words"]).to_rows() if row["space"] != "va"} == {0}
    fused = timeline.filter(source="fusion", space="decision").to_rows()
    assert [row["start"] for row in fused] == list(np.arange(8.0))
    assert {row["speaker"] for row in fused} == {"Anna"}
    early = timeline.filter(source="fusion", space="decision", start=1.5, end=2.0).to_rows()
    assert early[0]["label"] == "happiness"
    said = timeline.filter(space="explanation", source="fusion").to_rows()
    rows = timeline.to_rows()
    assert any("“glad”" in row["text"] for row in said)
    assert all(rows[ref]["space"] in ("evidence", "ferplus8", "ekman7", "goemotions28", "ravdess8", "conflict")
               for row in said for ref in row["refs"])  # fmt: skip


def test_face_and_voice_that_disagree_are_a_conflict_not_an_average(
    talk: Path, sound_timeline: Callable[[Timeline], None]
) -> None:
    talk.with_suffix(".srt").write_text("1\n00:00:00,500 --> 00:00:07,000\nI am furious and angry.\n")
    timeline = analyze(talk, modalities=("face", "words"))
    sound_timeline(timeline)
    conflicts = timeline.filter(space="conflict").to_rows()
    assert conflicts
    assert {row["label"] for row in conflicts} == {"face|words"}
    assert all(0.4 <= row["score"] <= 1 for row in conflicts)
    told = [row["text"] for row in timeline.filter(space="explanation").to_rows()]
    assert any("while the words" in text for text in told)
    assert not analyze(talk, modalities=("face", "words"), conflict=1.0).filter(space="conflict").to_rows()


def test_a_neutral_sentence_does_not_outvote_a_smile(talk: Path) -> None:
    wanted = {"source": "fusion", "space": "ekman7", "label": "happiness"}
    alone = analyze(talk, modalities="face").filter(**wanted).to_rows()
    talk.with_suffix(".srt").write_text("1\n00:00:00,000 --> 00:00:08,000\nThe table is made of wood.\n")
    both = (
        analyze(talk, modalities=("face", "words")).filter(source="fusion", space="ekman7", label="happiness").to_rows()
    )
    for one, two in zip(alone, both, strict=True):
        assert two["score"] == pytest.approx(one["score"], abs=0.02)


def test_a_confident_setting_abstains(talk: Path) -> None:
    labels = {
        row["label"] for row in analyze(talk, modalities="face", confidence=1.0).filter(space="decision").to_rows()
    }
    assert labels == {"uncertain"}


def test_modalities_that_are_not_chosen_leave_no_rows(talk: Path) -> None:
    timeline = analyze(talk, modalities="face")
    assert {source for source, _ in spaces(timeline)} == {"face", "fusion"}
    assert facts(timeline)["missing"] == {}


def test_windows_can_be_longer(talk: Path) -> None:
    fused = analyze(talk, modalities="face", window=2.5).filter(space="decision").to_rows()
    assert [(row["start"], row["end"]) for row in fused] == [
        (0, 2.5),
        (2.5, 5),
        (5, 7.5),
        (7.5, pytest.approx(8, abs=0.1)),
    ]


def test_a_missing_model_is_a_warning_and_the_rest_goes_on(
    talk: Path, fake_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(fake_models / "face", tmp_path / "models/face")
    monkeypatch.setenv("AFFECTUS_MODELS", str(tmp_path / "models"))
    timeline = analyze(talk)
    assert {source for source, _ in spaces(timeline)} >= {"face", "fusion"}
    missing = facts(timeline)["missing"]
    assert set(missing) == {"voice", "words", "scene"}
    assert "is missing" in missing["voice"]
    with pytest.raises(AffectusError, match=r"no model could look at it.*affectus doctor"):
        analyze(talk, modalities="scene")


def test_words_missing_says_how_to_get_them(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from affectus.analysis import perceive_voice
    from affectus.errors import AssetError

    def refuse(*_: object, **__: object) -> None:
        raise AssetError("speech recognition", "is not on this machine", "affectus assets get")

    monkeypatch.setattr(perceive_voice.transcription, "transcribe", refuse)
    timeline = analyze(talk)
    assert "affectus assets get" in facts(timeline)["missing"]["words"]
    assert "--transcript" in facts(timeline)["missing"]["words"]
    assert ("voice", "ravdess8") in spaces(timeline)


def test_an_audio_recording(
    make_sound: Callable[..., Path], speech: np.ndarray, sound_timeline: Callable[[Timeline], None]
) -> None:
    path = make_sound("voice.wav", speech)
    path.with_suffix(".vtt").write_text("WEBVTT\n\n00:00.000 --> 00:05.000\n<v Ben>I am so afraid.\n")
    timeline = analyze(path)
    sound_timeline(timeline)
    assert facts(timeline)["kind"] == "audio"
    assert facts(timeline)["missing"] == {}
    assert {row["speaker"] for row in timeline.filter(source="words").to_rows()} == {"Ben"}
    assert {row["track"] for row in timeline.to_rows()} == {-1}
    fused = timeline.filter(space="decision", start=0.5, end=4).to_rows()
    assert fused
    assert fused[0]["label"] == "fear"


def test_prosody_is_compared_with_the_speakers_own_median(make_sound: Callable[..., Path], speech: np.ndarray) -> None:
    from affectus.media.speech import speech_windows

    windows = speech_windows(speech)
    sound = np.tile(speech, 3)
    loud = windows[1]
    begin, end = (int((10 * len(speech) / len(speech) + t) * 16000) for t in (loud.start, loud.end))
    sound[begin:end] = np.clip(sound[begin:end] * 4, -1, 1)
    timeline = analyze(make_sound("voice.wav", sound), modalities="voice")
    evidence = [row for row in timeline.filter(space="evidence").to_rows() if row["label"] == "energy_db"]
    assert evidence
    best = max(evidence, key=lambda row: row["score"])
    assert abs(best["start"] - (10 + loud.start)) < 0.3
    assert "louder than this speaker's median" in best["text"]
    said = timeline.filter(space="explanation").to_rows()
    assert any(best["row"] in row["refs"] for row in said)


def test_a_transcript_without_times_is_kept_apart(
    make_sound: Callable[..., Path], speech: np.ndarray, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("I am so glad. We are waiting.")
    timeline = analyze(make_sound("voice.wav", speech), transcript=notes)
    assert "have no times" in " ".join(facts(timeline)["warnings"])
    words = timeline.filter(source="words", space="transcript").to_rows()
    assert [row["text"] for row in words] == ["I am so glad.", "We are waiting."]
    assert all(np.isnan(row["start"]) for row in words)


def test_a_picture_with_faces(samples: Path, sound_timeline: Callable[[Timeline], None]) -> None:
    timeline = analyze(samples / "multi_face.jpg")
    sound_timeline(timeline)
    assert len({row["track"] for row in timeline.filter(space="decision").to_rows()}) == 5
    assert {row["perspective"] for row in timeline.filter(source="scene", space="va").to_rows()} == {"evoked"}
    assert len(facts(timeline)["thumbnails"]) == 5


def test_a_text(tmp_path: Path, sound_timeline: Callable[[Timeline], None]) -> None:
    path = tmp_path / "diary.txt"
    path.write_text("I am so glad. The table is made of wood. He was furious!")
    timeline = analyze(path)
    sound_timeline(timeline)
    decisions = timeline.filter(space="decision").to_rows()
    assert [row["label"] for row in decisions] == ["happiness", "neutral", "anger"]
    assert [row["frame"] for row in decisions] == [0, 1, 2]
    told = [row["text"] for row in timeline.filter(space="explanation").to_rows()]
    assert any("“glad”" in text for text in told)
    assert any("“furious”" in text for text in told)


def test_a_table_keeps_its_speakers(tmp_path: Path, sound_timeline: Callable[[Timeline], None]) -> None:
    path = tmp_path / "talk.csv"
    path.write_text("speaker,text\nAnna,I am so glad\nBen,Wow!\nAnna,ok\n")
    timeline = analyze(path)
    sound_timeline(timeline)
    assert [(r["speaker"], r["label"]) for r in timeline.filter(space="decision").to_rows()] == [
        ("Anna", "happiness"),
        ("Ben", "surprise"),
        ("Anna", "neutral"),
    ]


def test_subtitles_run_in_time(tmp_path: Path, sound_timeline: Callable[[Timeline], None]) -> None:
    path = tmp_path / "film.srt"
    path.write_text("1\n00:00:01,000 --> 00:00:02,500\nI am so sad.\n")
    timeline = analyze(path)
    sound_timeline(timeline)
    row = timeline.filter(space="decision").to_rows()[0]
    assert (row["start"], row["end"], row["label"]) == (1.0, 2.5, "sadness")


def test_scene_is_cut_into_shots(make_video: Callable[..., Path]) -> None:
    rng = np.random.default_rng(3)
    first = np.kron(rng.integers(0, 60, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    second = np.kron(rng.integers(190, 250, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    timeline = analyze(make_video("shots.mp4", [first] * 20 + [second] * 20), modalities="scene")
    rows = timeline.filter(source="scene", space="va", label="valence").to_rows()
    assert [(row["start"], row["end"]) for row in rows] == [(0, 4), (4, pytest.approx(8, abs=0.3))]
    assert rows[0]["score"] < 0 < rows[1]["score"]
    assert all(row["low"] <= row["score"] <= row["high"] for row in rows)


def test_baseline_writes_what_it_did(talk: Path) -> None:
    timeline = analyze(talk, modalities="face", baseline=True, window=0.5)
    notes = [
        row["text"] for row in timeline.filter(space="evidence", source="face").to_rows() if "baseline" in row["text"]
    ]
    assert notes == ["face 0 shows happiness most of the time, so its baseline was not taken off"]
    assert notes[0] in facts(timeline)["warnings"]


def test_several_inputs_are_one_timeline(
    tmp_path: Path, samples: Path, sound_timeline: Callable[[Timeline], None]
) -> None:
    (tmp_path / "a.txt").write_text("I am glad you came. So glad.")
    (tmp_path / "b.txt").write_text("I am sad that you go.")
    timeline = analyze([tmp_path / "a.txt", samples / "single_face.jpg", tmp_path / "b.txt", tmp_path / "gone.txt"])
    sound_timeline(timeline)
    assert len(timeline.files) == 3
    assert list(timeline.meta["failures"]) == [str(tmp_path / "gone.txt")]
    assert len(timeline.meta["models"]) == 3


def test_nothing_to_do_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="holds no video"):
        analyze(tmp_path / "empty")
    with pytest.raises(ConfigError, match="smell"):
        analyze(tmp_path, modalities="smell")
    (tmp_path / "a.txt").write_text("Hello there.")
    with pytest.raises(MediaError, match="add words"):
        analyze(tmp_path / "a.txt", modalities="face")


def test_the_same_input_gives_the_same_rows(talk: Path) -> None:
    first, second = (analyze(talk, modalities=("face", "voice", "scene")) for _ in range(2))
    assert (
        first.table.drop(["low", "high"]).to_pylist().__repr__()
        == second.table.drop(["low", "high"]).to_pylist().__repr__()
    )


def test_progress_is_told_and_never_runs_backwards(talk: Path) -> None:
    told: list[tuple[str, float]] = []
    analyze(talk, modalities=("face", "voice"), progress=lambda path, stage, share: told.append((stage, share)))
    assert {stage for stage, _ in told} >= {"pictures", "sound", "fusion"}
    for stage in ("pictures", "sound"):
        shares = [share for name, share in told if name == stage]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0

"""Body signals: MATLAB and BDF files, and what the three EEG corpora say about them."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus import corpora, features, labels
from affectus.corpora.bdf import bdf_bytes, read_bdf
from affectus.corpora.matlab import load_mat, mat_shapes, write_mat
from affectus.corpora.readers import dreamer, mahnob_hci, seed_iv
from affectus.errors import CorpusError


def _cells(values: Sequence[Any]) -> np.ndarray:
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells


def test_structs_and_cells_become_plain_python(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    inner = {"rate": 128, "name": "AF3", "trials": _cells([np.ones((3, 2)), np.zeros((5, 2))])}
    write_mat(path, {"A": inner, "b": np.arange(6.0).reshape(2, 3)})
    found = load_mat(path.read_bytes(), "x.mat")
    assert (found["A"]["rate"], found["A"]["name"]) == (128, "AF3")
    assert [t.shape for t in found["A"]["trials"]] == [(3, 2), (5, 2)]
    assert list(load_mat(path.read_bytes(), "x.mat", ["b"])) == ["b"]
    assert mat_shapes(path.read_bytes(), "x.mat")["b"] == (2, 3)


def test_damaged_and_newer_matlab_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    write_mat(path, {"b": np.random.default_rng(0).normal(size=(50, 30))})
    whole = path.read_bytes()
    for read in (load_mat, mat_shapes):
        with pytest.raises(CorpusError, match="not a whole MATLAB file"):
            read(whole[: len(whole) // 2] if read is load_mat else whole[:100], "x.mat")
        with pytest.raises(CorpusError, match=r"MATLAB 7\.3 file"):
            read(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(600), "x.mat")


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Mapping[str, Any]) -> Any:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(CorpusError, match=r"need SciPy \(pip install 'affectus\[data\]'\)"):
        load_mat(b"", "x.mat")


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_bdf_keeps_24_bits(seconds: int, seed: int) -> None:
    signals = np.random.default_rng(seed).uniform(-900, 900, (3, 64 * seconds))
    read = read_bdf(bdf_bytes(("Fp1", "Oz", "GSR1"), signals, 64), "x.bdf")
    assert (read.names, read.rate, len(read.status)) == (("Fp1", "Oz", "GSR1"), 64.0, 0)
    np.testing.assert_allclose(read.signals, signals, atol=1000 / 8388607)


def test_bdf_picks_channels_and_reads_triggers() -> None:
    signals = np.stack([np.full(64, -5.0), np.full(64, 7.0), np.r_[np.zeros(40), 16.0, np.zeros(23)]])
    data = bdf_bytes(("Cz", "Pz", "Status"), signals, 32)
    read = read_bdf(data, "x.bdf", ["Pz"])
    assert read.names == ("Pz",)
    assert read.signals[0] == pytest.approx(7.0, abs=1e-3)
    assert np.flatnonzero(read.status).tolist() == [40]
    assert read_bdf(data, "x.bdf").names == ("Cz", "Pz")
    with pytest.raises(CorpusError, match=r"cut off after 1 of 2 records"):
        read_bdf(data[:-10], "x.bdf")
    with pytest.raises(CorpusError, match="no channel 'Oz'"):
        read_bdf(data, "x.bdf", ["Oz"])
    with pytest.raises(CorpusError, match="no BDF recording"):
        read_bdf(b"0" * 400, "x.edf")


def test_dreamer_scores_clips_and_signals(tmp_path: Path) -> None:
    people = corpora.load("dreamer", corpora.write_tiny("dreamer", tmp_path))
    assert len(people) == 36
    assert Counter(dreamer.TARGETS) == dict.fromkeys(labels.space("dreamer9").labels, 2)
    assert people.row(0)["dim:valence"] == (people.row(0)["raw:valence"] - 3) / 2
    trials = list(dreamer.recordings(people.files))
    assert [name for name, _, _ in trials] == people.column("id")
    assert {signal.shape for _, a, b in trials for signal in (a, b)} == {(14, 128)}
    arousal = people.array("raw:arousal")
    alpha = np.array([features.band_power(a, dreamer.RATE)[..., 2].mean() for _, a, _ in trials])
    assert alpha[arousal == 1].mean() > alpha[arousal == 5].mean()


def test_dreamer_rating_off_the_scale_is_named(tmp_path: Path) -> None:
    people = np.empty((1, 2), object)
    for k in range(2):
        cells = np.empty((2, 1), object)
        cells[0, 0] = cells[1, 0] = np.zeros((128, 14))
        scores = {s: np.array([[3], [3 + 3 * k]]) for s in ("ScoreValence", "ScoreArousal", "ScoreDominance")}
        people[0, k] = {"EEG": {"stimuli": cells, "baseline": cells}, **scores}
    write_mat(tmp_path / "DREAMER.mat", {"DREAMER": {"Data": people}})
    with pytest.raises(CorpusError, match=r"DREAMER\.mat:2: valence is 6 \(expected 1 to 5\)"):
        corpora.load("dreamer", tmp_path)


def test_seed_iv_sessions_are_balanced_and_features_come_by_window(tmp_path: Path) -> None:
    assert all(Counter(codes) == {0: 6, 1: 6, 2: 6, 3: 6} for codes in seed_iv.SESSIONS.values())
    root = corpora.write_tiny("seed_iv", tmp_path)
    clips = corpora.load("seed_iv", root)
    first = clips.row(0)
    assert (first["label:seed4"], first["group:subject"], first["group:clip"]) == ("sad", "1", "1/01")
    assert sorted(set(clips.column("group:subject"))) == ["1", "2"]
    held = seed_iv.features(clips.files, first["media"])
    assert {h.shape for h in held} == {(3, 62, 5)}
    gamma = np.array([h[..., 4].mean() for h in held])
    codes = np.array(seed_iv.SESSIONS[1])
    assert np.corrcoef(gamma, codes)[0, 1] > 0.99
    with pytest.raises(CorpusError, match="holds no psd_LDS1"):
        seed_iv.features(clips.files, first["media"], "psd_LDS")
    write_mat(tmp_path / "eeg_feature_smooth/2/1_20161125.mat", {"de_LDS1": np.zeros((62, 3, 4))})
    reasons = [p.reason for p in corpora.check("seed_iv", root) if p.level == "error"]
    assert reasons[0] == "de_LDS1 is of shape (62, 3, 4), expected (62, windows, 5)"
    assert reasons[1] == "de_LDS2 is missing, expected (62, windows, 5)"


def test_mahnob_answers_keywords_and_recordings(tmp_path: Path) -> None:
    root = corpora.write_tiny("mahnob_hci", tmp_path)
    sessions = corpora.load("mahnob_hci", root)
    assert sessions.column("id") == ["10", "12", "14"]
    assert sessions.column("label:mahnob9") == ["anxiety", "joy", "neutral"]
    assert sessions.column("dim:valence") == [-0.5, 0.5, 0.0]
    recording = mahnob_hci.eeg(sessions.files, sessions.column("meta:eeg")[0])
    assert (recording.signals.shape, recording.rate) == ((32, 512), 256.0)
    written = (root / "Sessions/12/session.xml").read_text()
    (root / "Sessions/12/session.xml").write_text(written.replace('feltEmo="4"', 'feltEmo="13"'))
    with pytest.raises(CorpusError, match=r"Sessions/12/session\.xml: unknown label '13'"):
        corpora.load("mahnob_hci", root)
    (root / "Sessions/12/session.xml").write_text(written[:60])
    bdf = next((root / "Sessions/14").glob("*.bdf"))
    bdf.write_bytes(bdf.read_bytes()[:-100])
    problems = [str(p) for p in corpora.check("mahnob_hci", root) if p.level == "error"]
    assert any("not XML" in p for p in problems)
    assert any("cut off after 1 of 2 records" in p for p in problems)

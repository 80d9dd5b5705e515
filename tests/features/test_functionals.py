"""Functionals of sound: layout, known values, behaviour on silence and short clips."""

from __future__ import annotations

import numpy as np
import pytest

from affectus.corpora.synthetic import tone
from affectus.errors import MediaError
from affectus.features.functionals import DESCRIPTORS, FUNCTIONAL_NAMES, functionals, low_level


def column(found: np.ndarray, name: str) -> np.ndarray:
    return found[:, FUNCTIONAL_NAMES.index(name)]


def test_layout_of_the_published_set() -> None:
    assert len(FUNCTIONAL_NAMES) == len(set(FUNCTIONAL_NAMES)) == 1582
    audio = np.random.default_rng(0).normal(0, 0.1, 32000).astype("f4")
    found = functionals(audio)
    assert found.shape == (40, 1582)  # two seconds: windows of 0.4 s every 40 ms
    assert np.isfinite(found).all()


def test_known_statistics() -> None:
    audio = 0.3 * np.sin(2 * np.pi * 200 * np.arange(16000) / 16000).astype("f4")
    found = functionals(audio)
    np.testing.assert_allclose(column(found, "pitch_mean")[5:-5], 200, rtol=0.01)
    np.testing.assert_allclose(column(found, "voiced_seconds")[5:-5], 0.4, atol=1e-6)
    np.testing.assert_allclose(column(found, "pitch_onsets")[5:-5], 1)
    np.testing.assert_allclose(column(found, "loudness_slope")[5:-5], 0, atol=1e-2)
    below, above = column(found, "mfcc1_quartile1"), column(found, "mfcc1_quartile3")
    np.testing.assert_allclose(column(found, "mfcc1_iqr13"), above - below, atol=1e-4)


def test_louder_sounds_are_louder_and_resonances_show_as_line_pairs() -> None:
    audio = tone("neutral", np.random.default_rng(0))
    quiet, loud = functionals(0.2 * audio), functionals(audio)
    assert (column(loud, "loudness_mean") > column(quiet, "loudness_mean")).all()
    main, _ = low_level(np.random.default_rng(1).normal(0, 0.1, 16000).astype("f4"))
    lines = main[:, DESCRIPTORS.index("lsp0") : DESCRIPTORS.index("lsp7") + 1]
    assert (np.diff(lines, axis=1) > 0).all()
    assert (lines > 0).all()
    assert (lines < np.pi).all()
    # White noise after pre-emphasis has few resonances: the lines spread over the whole band.
    assert np.diff(lines, axis=1).max() < 1.0


def test_silence_and_short_clips_are_finite() -> None:
    for audio in (np.zeros(16000, "f4"), np.zeros(10, "f4"), np.zeros(0, "f4")):
        found = functionals(audio)
        assert np.isfinite(found).all()
        assert len(found) >= 1
    with pytest.raises(MediaError):
        functionals(np.zeros((2, 100), "f4"))

"""Boxes beside frames, letterboxes, segment sampling, and pictures scaled as Pillow does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from affectus.errors import ConfigError, CorpusError, MediaError
from affectus.features.boxes import BoxStore, crop, letterbox
from affectus.features.inputs import NONE, ImageInput, SqueezedInput, resized
from affectus.features.segments import SegmentInput, segment_draws, segment_middles

RAMP = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


def test_boxes_are_found_under_the_path_of_another_machine(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(
        '{"/data/x/images/Class/P001/002": {"a.jpg": [1, 2, 3, 4]}, "C:\\\\y\\\\Class\\\\P001\\\\003": [0, 0, 9, 9.5]}'
    )
    store = BoxStore.read(path)
    assert len(store) == 2
    assert store.find("images/Class/P001/002", "a.jpg") == (1, 2, 3, 4)
    assert store.find("class/p001/002/", "b.jpg") is None
    assert store.find("images/Class/P001/003", "any.jpg") == (0, 0, 9, 9.5)
    assert store.find("images/Class/P001/004") is None


@pytest.mark.parametrize("content", ["", "[1, 2]", "nonsense"])
def test_bad_box_files_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(CorpusError, match=r"boxes\.json"):
        BoxStore.read(path)
    with pytest.raises(ConfigError, match="four numbers"):
        BoxStore({"a": [1, 2, 3]})


def test_crop_with_margin_is_clipped() -> None:
    assert np.array_equal(crop(RAMP, (10, 20, 30, 40)), RAMP[20:40, 10:30])
    assert np.array_equal(crop(RAMP, (10, 20, 85, 40), 20), RAMP[0:60, 0:90])
    assert crop(RAMP, None) is RAMP
    with pytest.raises(MediaError, match="outside"):
        crop(RAMP, (200, 200, 220, 220))


@given(st.integers(1, 60), st.integers(1, 90), st.integers(4, 40))
def test_letterbox_is_centred_and_fills_one_side(height: int, width: int, size: int) -> None:
    boxed = letterbox(np.full((height, width, 3), 255, np.uint8), size)
    rows, columns = (np.flatnonzero(boxed[..., 0].any(axis)) for axis in (1, 0))
    assert max(len(rows), len(columns)) >= size - 1
    for span in (rows, columns):
        before, after = span[0], size - 1 - span[-1]
        assert 0 <= after - before <= 1


def test_letterbox_of_nothing() -> None:
    with pytest.raises(MediaError, match="nothing to scale"):
        letterbox(np.zeros((0, 5, 3), np.uint8), 8)


@given(st.integers(1, 400), st.integers(1, 20), st.integers(0, 100))
def test_segments_are_in_order_and_in_range(count: int, segments: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    middles = segment_middles(count, segments)
    drawn = segment_draws(count, segments, lambda high, n: random.integers(0, high, n))
    for rows in (middles, drawn):
        assert len(rows) == segments
        assert (np.diff(rows) >= 0).all()
        assert rows[0] >= 0
        assert rows[-1] < count
    if count >= segments:
        length = count // segments
        assert (drawn // length == np.arange(segments)).all(), "one out of each segment"
        assert len(set(drawn.tolist())) == segments
    else:
        assert drawn.tolist() == middles.tolist() == [min(i, count - 1) for i in range(segments)]


def test_no_frame_is_an_error() -> None:
    for sample in (segment_middles, lambda n, s: segment_draws(n, s, np.zeros)):
        with pytest.raises(MediaError, match="holds no frame"):
            sample(0, 4)


def test_segment_input() -> None:
    clip = [np.full((20, 40, 3), 10 * i, np.uint8) for i in range(8)]
    stretch, boxed = SegmentInput(4, 16), SegmentInput(4, 16, "letterbox")
    assert stretch(clip).shape == stretch.shape == (4, 3, 16, 16)
    np.testing.assert_allclose(stretch(clip)[:, 0, 8, 8] * 255, [10, 30, 50, 70], atol=1e-4)
    assert boxed(clip)[3, :, 0].max() == 0
    assert stretch(clip)[3, :, 0].min() > 0
    with pytest.raises(MediaError, match="RGB"):
        stretch([np.zeros((4, 4), np.uint8)])


@pytest.mark.parametrize(("name", "method"), [("pillow-bilinear", Image.Resampling.BILINEAR),
                                              ("pillow-bicubic", Image.Resampling.BICUBIC)])  # fmt: skip
def test_pillow_scaling_and_torchvision_rounding(name: str, method: Image.Resampling) -> None:
    spec = ImageInput(31, fit="shorter", statistics=NONE, interpolation=name)  # type: ignore[arg-type]
    # Shorter side 60 -> 31; longer int(31 * 90 / 60) = 46; crop from round((46 - 31) / 2) = 8.
    wanted = np.asarray(Image.fromarray(RAMP).resize((46, 31), method))[:, 8:39]
    assert np.array_equal(spec.fitted(RAMP), wanted)
    smooth = resized(RAMP, (9, 6), name)  # type: ignore[arg-type]
    assert smooth.std() < resized(RAMP, (9, 6), "bilinear").std(), "smoothed before it is made smaller"


def test_squeezed_input() -> None:
    spec = SqueezedInput(12, 8, NONE)
    assert spec.source == "image"
    found = spec(RAMP)
    assert found.shape == spec.shape == (3, 12, 8)
    wanted = np.asarray(Image.fromarray(RAMP).resize((8, 12), Image.Resampling.BILINEAR)) / 255
    np.testing.assert_allclose(found, wanted.transpose(2, 0, 1), atol=1e-6)
    with pytest.raises(MediaError, match="RGB"):
        spec(np.zeros((3, 3), np.uint8))

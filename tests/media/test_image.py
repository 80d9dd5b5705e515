"""Pictures of all kinds as RGB."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from affectus import media
from affectus.errors import MediaError
from affectus.media.image import MAX_PIXELS, read_image


def gradient(width: int = 40, height: int = 30) -> np.ndarray:
    """RGB picture that differs in every corner."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, 255 - x], -1).astype(np.uint8)


def save(path: Path, picture: Image.Image, **options: Any) -> Path:
    picture.save(path, **options)
    return path


def png_of_size(path: Path, width: int, height: int) -> Path:
    """A valid PNG header that promises a picture of any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "ppm", "gif", "jpg", "avif"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95}, "avif": {"quality": 95}}.get(suffix, {})
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(gradient()), **options)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.shape == (30, 40, 3)
    assert np.abs(image.astype(int) - gradient()).mean() < (20 if suffix == "gif" else 4)
    assert media.probe(path).kind == "image"
    assert (media.probe(path).width, media.probe(path).height) == (40, 30)


def test_content_not_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(gradient())).rename(tmp_path / "clip.mp4")
    assert media.probe(path).kind == "image"
    assert np.array_equal(read_image(path), gradient())


def test_grey(tmp_path: Path) -> None:
    grey = gradient()[..., 0]
    assert np.array_equal(read_image(save(tmp_path / "a.png", Image.fromarray(grey))), np.stack([grey] * 3, -1))


def test_one_bit(tmp_path: Path) -> None:
    picture = Image.fromarray(gradient()[..., 0]).convert("1")
    assert set(np.unique(read_image(save(tmp_path / "a.png", picture)))) == {0, 255}


def test_palette(tmp_path: Path) -> None:
    blocks = np.kron(np.array([[0, 1], [2, 3]]), np.ones((8, 8))).astype(np.uint8)
    picture = Image.fromarray(blocks).convert("P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    image = read_image(save(tmp_path / "a.png", picture))
    assert image[0, 0].tolist() == [255, 0, 0]
    assert image[15, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_on_white(tmp_path: Path, mode: str) -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:4, :, 3] = 255
    rgba[4, :, 3] = 128
    picture = Image.fromarray(rgba)
    if mode == "PA":
        path = save(tmp_path / "a.gif", picture)
    else:
        path = save(tmp_path / "a.png", picture.convert(mode))
    image = read_image(path)
    assert image[0, 0].tolist() == [0, 0, 0]
    assert image[7, 7].tolist() == [255, 255, 255]
    if mode != "PA":
        assert 120 <= image[4, 0, 0] <= 135


def test_colour_key_transparency(tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 4), (10, 20, 30))
    assert read_image(save(tmp_path / "a.png", picture, transparency=(10, 20, 30))).min() == 255


def test_cmyk(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), quality=95)
    image = read_image(path)
    assert np.abs(image[8, 8].astype(int) - (255, 0, 0)).max() < 12


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_uses_the_full_range(tmp_path: Path, suffix: str) -> None:
    deep = np.linspace(0, 65535, 256 * 4).reshape(4, 256).astype(np.uint16)
    image = read_image(save(tmp_path / f"a.{suffix}", Image.fromarray(deep)))
    assert image.shape == (4, 256, 3)
    assert np.array_equal(image[..., 0], np.rint(deep / 257).astype(np.uint8))


def test_dark_sixteen_bit_stays_dark(tmp_path: Path) -> None:
    deep = np.full((4, 4), 300, np.uint16)
    assert read_image(save(tmp_path / "a.png", Image.fromarray(deep))).max() == 1


def test_float_picture(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    values[0, 0] = np.nan
    image = read_image(save(tmp_path / "a.tiff", Image.fromarray(values)))
    assert image[0, 0, 0] == 0
    assert image[3, 3, 0] == 255
    wide = read_image(save(tmp_path / "b.tiff", Image.fromarray(values * 1000 - 500)))
    assert (wide.min(), wide.max()) == (0, 255)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animation_gives_its_first_frame(tmp_path: Path, suffix: str) -> None:
    first, second = Image.new("RGB", (16, 16), (200, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 200))
    path = save(tmp_path / f"a.{suffix}", first, save_all=True, append_images=[second], duration=100)
    assert np.abs(read_image(path)[8, 8].astype(int) - (200, 0, 0)).max() < 8
    info = media.probe(path)
    assert info.kind == "image"
    assert any("first frame" in w for w in info.warnings)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    upright = gradient()
    # How a camera that was held this way stored the scene (inverse of the turn that the tag asks for).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.png", "a.tiff"):
        path = save(tmp_path / name, Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
        assert np.array_equal(read_image(path), upright)
        assert (media.probe(path).width, media.probe(path).height) == (40, 30)
    large = save(
        tmp_path / "b.jpg",
        Image.fromarray(np.ascontiguousarray(np.kron(stored, np.ones((20, 20, 1))).astype(np.uint8))),
        exif=exif,
    )
    assert read_image(large, max_side=40).shape == (30, 40, 3)
    assert np.abs(read_image(large, max_side=40).astype(int) - upright).mean() < 5


def test_max_side_never_enlarges(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(gradient()))
    assert read_image(path, max_side=20).shape == (15, 20, 3)
    assert read_image(path, max_side=999).shape == (30, 40, 3)
    assert read_image(save(tmp_path / "b.png", Image.new("RGB", (1000, 1))), max_side=10).shape == (1, 10, 3)
    with pytest.raises(MediaError, match="max_side"):
        read_image(path, max_side=0)


def test_scaled_jpeg_decoding_looks_like_scaling_afterwards(tmp_path: Path) -> None:
    big = np.asarray(Image.fromarray(gradient()).resize((1600, 1200), Image.Resampling.BICUBIC))
    path = save(tmp_path / "a.jpg", Image.fromarray(big), quality=95)
    small = read_image(path, max_side=200)
    reference = np.asarray(Image.fromarray(read_image(path)).resize((200, 150), Image.Resampling.BOX))
    assert small.shape == (150, 200, 3)
    assert np.abs(small.astype(int) - reference).mean() < 3


def test_smallest_and_large(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]
    assert read_image(save(tmp_path / "b.png", Image.new("L", (16, 16)))).shape == (16, 16, 3)
    assert read_image(save(tmp_path / "c.png", Image.new("1", (9000, 12000))), max_side=100).shape == (100, 75, 3)


@pytest.mark.parametrize("side", [14000, 100_000])
def test_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    path = png_of_size(tmp_path / "bomb.png", side, side)
    assert side * side > MAX_PIXELS
    for read in (read_image, media.probe):
        with pytest.raises(MediaError, match=r"bomb\.png: has more than 170 million pixels"):
            read(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "tiff", "bmp"])
def test_cut_off(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = save(tmp_path / f"a.{suffix}", Image.fromarray(noise)).read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match=r"cut\.\w+: .*(damaged|cut off)"):
        read_image(cut)


def test_only_a_signature(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(MediaError, match="damaged JPEG"):
        read_image(path)


def test_heic_without_its_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for read in (read_image, media.probe):
        with pytest.raises(MediaError, match=r"HEIC pictures need pillow-heif \(pip install 'affectus\[heic\]'"):
            read(path)


def test_heic(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    picture = Image.fromarray(gradient())
    path = tmp_path / "IMG_1.HEIC"
    heif.from_pillow(picture).save(path, quality=90)
    found = read_image(path)
    assert found.shape == (30, 40, 3)
    assert np.abs(found.astype(int) - gradient()).mean() < 5
    assert max(read_image(path, max_side=20).shape) == 20
    assert media.probe(path).kind == "image"
    turned = tmp_path / "turned.heic"
    exif = Image.Exif()
    exif[0x0112] = 6
    heif.from_pillow(picture).save(turned, exif=exif.tobytes())
    assert read_image(turned).shape == (40, 30, 3)
    cut = tmp_path / "cut.heic"
    cut.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(MediaError, match=r"cut\.heic: .*(damaged|cut off)"):
        read_image(cut)


def test_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("hello")
    with pytest.raises(MediaError, match="not a picture"):
        read_image(path)


def test_broken_exif_does_not_matter(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.fromarray(gradient()), exif=b"Exif\0\0garbage garbage")
    assert read_image(path).shape == (30, 40, 3)

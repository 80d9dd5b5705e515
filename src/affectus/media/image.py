"""Reading pictures of any common kind as RGB.

Colour profiles are not applied: numbers are taken as sRGB, CMYK is converted by the plain formula.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from affectus.errors import MediaError
from affectus.media.files import read_head

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

#: More pixels than this are refused: a small file can unfold to more memory than the machine has.
MAX_PIXELS = 170_000_000

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"WEBP", "webp"),
    (0, b"BM", "bmp"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"II+\0", "tiff"),
    (0, b"MM\0+", "tiff"),
    (0, b"8BPS", "psd"),
    (4, b"jP  \r\n\x87\n", "jpeg 2000"),
    (0, b"\xff\x4f\xff\x51", "jpeg 2000"),
    (0, b"\xff\x0a", "jpeg xl"),
    (4, b"JXL \r\n\x87\n", "jpeg xl"),
    (0, b"P5\n", "ppm"),
    (0, b"P6\n", "ppm"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def picture_format(head: bytes) -> str:
    """Name of the picture format that the first bytes of a file announce, or an empty string."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"avif", b"avis") or (brand in (b"mif1", b"msf1") and b"avif" in head[16:64]):
            return "avif"
        return "heic" if brand in _HEIF_BRANDS else ""
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    return ""


def open_picture(path: Path, stream: BinaryIO | None = None) -> Picture:
    """Open a picture file, or a stream that `path` names, without reading its pixels; the caller closes it.

    Raises `MediaError`.
    """
    from PIL import Image, UnidentifiedImageError

    name = picture_format(read_head(path, stream=stream))
    if name == "jpeg xl":
        raise MediaError(path, "JPEG XL pictures are not supported", "export it as JPEG or PNG")
    if name == "heic":
        _register_heic(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(stream or path)
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except UnidentifiedImageError:
        reason = f"is a damaged {name.upper()} picture" if name else "is not a picture of a known format"
        raise MediaError(path, reason, "copy it again or export it as JPEG or PNG") from None
    except Exception as error:  # decoders raise whatever a broken header makes them stumble over
        raise _damaged(path, error) from None
    if picture.width * picture.height > MAX_PIXELS:
        picture.close()
        raise _too_large(path)
    return picture


def _register_heic(path: Path) -> None:
    """Teach Pillow the pictures of phones; their decoder is an extra because of its size."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        remedy = "pip install 'affectus[heic]', or export it as JPEG or PNG"
        raise MediaError(path, "HEIC pictures need pillow-heif", remedy) from error
    register_heif_opener()


def displayed_size(picture: Picture) -> tuple[int, int]:
    """Width and height after the EXIF orientation."""
    width, height = picture.size
    return (height, width) if _orientation(picture) in (5, 6, 7, 8) else (width, height)


def read_image(path: str | Path, max_side: int | None = None, stream: BinaryIO | None = None) -> np.ndarray:
    """Picture as RGB uint8 of shape (height, width, 3), turned as its EXIF orientation says.

    Grey, palette, CMYK, 16-bit and float pictures are converted, transparency is laid on white, of an animation the
    first frame is taken. With `max_side` the longer side is scaled down to at most that many pixels (never up), for
    JPEG already while decoding. A seekable `stream` is read instead of the file; `path` is then what errors call it.
    Raises `MediaError` for what cannot be read or has more than `MAX_PIXELS`.
    """
    if max_side is not None and max_side < 1:
        raise MediaError(path, f"max_side must be at least 1, not {max_side}")
    path = Path(path)
    with open_picture(path, stream) as picture:
        try:
            if max_side is not None and max(picture.size) > max_side:
                scale = max_side / max(picture.size)
                picture.draft(None, (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
            rgb = _to_rgb(_upright(picture))
            if max_side is not None:
                rgb.thumbnail((max_side, max_side), reducing_gap=2.0)
            return np.array(rgb, dtype=np.uint8)
        except MemoryError:
            raise _too_large(path) from None
        except Exception as error:  # decoders raise whatever broken pixel data makes them stumble over
            raise _damaged(path, error) from None


def _orientation(picture: Picture) -> int:
    if picture.format == "TIFF":  # Pillow turns these by itself
        return 1
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1


def _upright(picture: Picture) -> Picture:
    from PIL import Image

    turns = Image.Transpose
    turn = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _to_rgb(picture: Picture) -> Picture:
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_to_eight_bits(picture)).convert("RGB")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture.convert("RGBA"))
        return white.convert("RGB")
    return picture.convert("RGB")


def _to_eight_bits(picture: Picture) -> np.ndarray:
    """Deep grey values on 0…255: 16-bit by its full range, float in [0, 1] as such, anything else by its own range."""
    values = np.nan_to_num(np.asarray(picture, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if picture.mode.startswith("I") and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    elif picture.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return np.rint((values - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)


def _too_large(path: Path) -> MediaError:
    return MediaError(path, f"has more than {MAX_PIXELS // 1_000_000} million pixels", "scale the picture down first")


def _damaged(path: Path, error: Exception) -> MediaError:
    text = str(error).strip() or type(error).__name__
    return MediaError(path, f"the picture is damaged or cut off: {text}", "copy it again or export it as JPEG or PNG")

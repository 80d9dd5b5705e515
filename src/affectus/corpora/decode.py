"""Bytes of a corpus item → pixels or samples, without touching the disk."""

from __future__ import annotations

import io

import av
import cv2
import numpy as np

from affectus.errors import MediaError

#: Suffixes by which readers recognise media.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".m4a")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".flv", ".m4v")


def image_from(data: bytes, name: str) -> np.ndarray:
    """RGB uint8 `(height, width, 3)`; grey and 16-bit pictures are converted, EXIF rotation is applied."""
    if not data:
        raise MediaError(name, "empty file (0 bytes)")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        from PIL import Image, UnidentifiedImageError

        try:
            return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        except (UnidentifiedImageError, OSError, ValueError):
            raise MediaError(name, "not a readable picture") from None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def audio_from(data: bytes, name: str, rate: int = 16000) -> np.ndarray:
    """float32 mono in [-1, 1] at `rate`, the mean of all channels; also takes the sound track of a video."""
    if not data:
        raise MediaError(name, "empty file (0 bytes)")
    try:
        with av.open(io.BytesIO(data), mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise MediaError(name, "no sound track")
            resampler = av.AudioResampler(format="fltp", rate=rate)
            blocks = []
            for frame in container.decode(audio=0):
                frame.pts = None
                blocks += [out.to_ndarray().mean(0) for out in resampler.resample(frame)]
            blocks += [out.to_ndarray().mean(0) for out in resampler.resample(None)]
    except av.error.FFmpegError as error:
        raise MediaError(name, f"sound cannot be decoded ({error.strerror})") from None
    if not blocks:
        raise MediaError(name, "sound track holds no samples")
    return np.concatenate(blocks).astype(np.float32, copy=False)


def cut_off(data: bytes, suffix: str) -> str:
    """Why a picture or sound file is not whole, judged by its container alone ("" when nothing is wrong).

    Decoders fill the missing half of a truncated JPEG with grey without a word, so the end marks are checked.
    """
    if not data:
        return "empty file (0 bytes)"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "" if b"IEND" in data[-16:] else "PNG is cut off"
    if data[:2] == b"\xff\xd8":
        return "" if b"\xff\xd9" in data[-4096:] else "JPEG is cut off"
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        stated = int.from_bytes(data[4:8], "little")
        # recorders that stream to disk leave 0 or 2^32-1 as length
        return "WAV is cut off" if 0 < stated < 0xFFFFFF00 and len(data) + 1 < stated + 8 else ""
    known = {
        ".png": b"\x89PNG", ".jpg": b"\xff\xd8", ".jpeg": b"\xff\xd8", ".wav": b"RIFF", ".flac": b"fLaC",
    }  # fmt: skip
    if suffix in known and not data.startswith(known[suffix]):
        return f"content is not {suffix[1:].upper()}"
    return ""

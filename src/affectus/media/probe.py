"""What a file is, told from its content; the name only decides between kinds of text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from affectus.errors import MediaError
from affectus.media import files

if TYPE_CHECKING:
    from av.container import InputContainer

Kind = Literal["video", "audio", "image", "text", "subtitles", "table"]

# First bytes of common files that are no media, and what to call them.
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive or office document"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document"),
    (b"{\\rtf", "an RTF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\0", "a Windows program"),
    (b"SQLite format 3\0", "a database"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet table"),
    (b"#EXTM3U", "a play list"),
    (b"ffconcat", "a play list"),
    (b"[Script Info]", "an ASS subtitle file"),
)
_AS_TABLE, _AS_TEXT = "save the sheet as CSV (UTF-8)", "save it as plain text (UTF-8)"
#: What to do with documents of usual names.
_REMEDIES = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), _AS_TABLE),
    **dict.fromkeys((".docx", ".doc", ".odt", ".rtf", ".pages", ".pdf"), _AS_TEXT),
    **dict.fromkeys((".parquet", ".sqlite", ".db", ".feather"), "write it as CSV or JSON Lines"),
    **dict.fromkeys((".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"), "unpack it and give the folder"),
    ".ass": "convert it to .srt or .vtt",
    ".ssa": "convert it to .srt or .vtt",
}
# How containers of sound and video begin: (offset, bytes, name).
_CONTAINERS: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyp", "MP4"),
    (4, b"moov", "QuickTime"),
    (4, b"mdat", "QuickTime"),
    (8, b"WAVE", "WAV"),
    (8, b"AVI ", "AVI"),
    (0, b"\x1aE\xdf\xa3", "Matroska/WebM"),
    (0, b"OggS", "Ogg"),
    (0, b"fLaC", "FLAC"),
    (0, b"ID3", "MP3"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
    (0, b"FLV\x01", "Flash video"),
    (0, b"FORM", "AIFF"),
    (0, b"caff", "CAF"),
    (0, b"\0\0\x01\xba", "MPEG"),
    (188, b"\x47", "MPEG transport stream"),
    (0, b"\0\0\0\x01", "H.264/H.265"),
    (0, b"\xff\xfb", "MP3"),
    (0, b"\xff\xf3", "MP3"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"#!AMR", "AMR"),
    (0, b".snd", "Sun audio"),
    (0, b"riff", "Wave64"),
    (0, b"RF64", "RF64 WAV"),
    (0, b"\x06\x0e\x2b\x34", "MXF"),
)


@dataclass(frozen=True)
class MediaInfo:
    """What a file holds. Sizes are as displayed (rotation and pixel shape applied); what does not apply is 0.

    `duration` is in seconds, `fps` the average number of pictures per second, `rate` the sampling rate in Hz.
    """

    path: Path
    kind: Kind
    duration: float = 0.0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    has_audio: bool = False
    has_video: bool = False
    rate: int = 0
    channels: int = 0
    warnings: tuple[str, ...] = ()


def probe(path: str | Path) -> MediaInfo:
    """Find out what a file is by its content.

    Recordings are decoded up to their first picture or sound, so that what is reported can also be read. Raises
    `MediaError` for what is missing, a folder, unreadable, empty, damaged or no media at all.
    """
    from affectus.media.encodings import looks_like_text
    from affectus.media.image import picture_format
    from affectus.media.office import office_kind

    path = Path(path)
    head = files.read_head(path)
    if picture_format(head):
        return _probe_picture(path)
    if head.startswith(b"PK\x03\x04") and (kind := office_kind(path)):
        return MediaInfo(path, "table" if kind == "table" else "text")
    for magic, name in _FOREIGN:
        if head.removeprefix(b"\xef\xbb\xbf").startswith(magic):
            raise MediaError(path, f"is {name}, which is not supported", _remedy(path))
    if looks_like_text(head):
        return MediaInfo(path, _text_kind(path, head))
    if path.suffix.lower() in files.TEXT_SUFFIXES | files.TABLE_SUFFIXES | files.SUBTITLE_SUFFIXES and not _container(
        head
    ):
        raise MediaError(path, "holds binary data (NUL or control bytes), not text", "save it as UTF-8 text")
    return _probe_recording(path, head)


def _remedy(path: Path) -> str:
    """What to do about a file of a kind that is not read."""
    return _REMEDIES.get(path.suffix.lower(), "give a video, sound, picture or text file")


def _container(head: bytes) -> str:
    return next((name for offset, magic, name in _CONTAINERS if head[offset : offset + len(magic)] == magic), "")


def _text_kind(path: Path, head: bytes) -> Kind:
    from affectus.media.encodings import decode_text
    from affectus.media.subtitles import looks_like_subtitles
    from affectus.media.tables import is_tabbed

    suffix = path.suffix.lower()
    text = decode_text(head, path, cut=True).lstrip("\ufeff \t\r\n")
    if suffix in files.VIDEO_SUFFIXES | files.AUDIO_SUFFIXES | files.IMAGE_SUFFIXES:
        raise MediaError(path, f"is named {suffix} but holds plain text", "name it .txt to analyse it as text")
    if suffix == ".svg" or text[:5].lower() == "<svg ":
        raise MediaError(path, "is an SVG drawing, which is not supported", "export it as PNG")
    if text[:15].lower().startswith(("<!doctype", "<html", "<?xml")):
        raise MediaError(path, "is an HTML or XML document, which is not supported", "save its text as .txt")
    if looks_like_subtitles(text):
        return "subtitles"
    if suffix in files.SUBTITLE_SUFFIXES:
        return "subtitles"
    # The last line of the head may be cut.
    if suffix == ".txt" and is_tabbed(text if len(head) < files.HEAD else text.rpartition("\n")[0]):
        return "table"
    if suffix in files.TABLE_SUFFIXES or suffix == ".json" or re.match(r'(?:\[\s*)?\{\s*"', text):
        return "table"
    return "text"


def _probe_picture(path: Path) -> MediaInfo:
    from affectus.media.image import displayed_size, open_picture

    with open_picture(path) as picture:
        width, height = displayed_size(picture)
        animated = getattr(picture, "is_animated", False)
    notes = ("animated picture: only its first frame is used",) if animated else ()
    return MediaInfo(path, "image", width=width, height=height, warnings=notes)


def _probe_recording(path: Path, head: bytes) -> MediaInfo:
    from affectus.media import containers

    name = _container(head)
    if not name and path.suffix.lower() not in files.VIDEO_SUFFIXES | files.AUDIO_SUFFIXES:
        raise MediaError(path, "is no video, sound, picture or text of a known kind", "check what kind of file it is")
    try:
        container = containers.open_recording(path)
    except MediaError:
        reason = "is not a recording, or damaged beyond recognition"
        if name:
            reason = f"the {name} recording is damaged or cut off (its index or header is missing)"
        raise MediaError(path, reason, "copy or download it again") from None
    with container:
        picture = _picture_facts(container, path)
        sound = _sound_facts(container, path, check=not picture)
        if not picture and not sound:
            raise MediaError(path, "holds neither sound nor moving pictures", "give a video or sound file")
        duration = (container.duration or 0) / 1e6 or _scan_duration(container)
    facts = picture | sound
    return MediaInfo(path, "video" if picture else "audio", duration=duration, **facts)


def _picture_facts(container: InputContainer, path: Path) -> dict[str, Any]:
    from av import VideoFrame

    from affectus.media import containers, video

    try:
        stream = containers.video_stream(container, path)
    except containers.NoVideoError:
        return {}
    frame = containers.first_frame(container, stream)
    if not isinstance(frame, VideoFrame):
        raise MediaError(path, "not one picture of the video can be decoded", "copy or export it again")
    width, height = video.displayed_size(frame, stream)
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    return {"has_video": True, "width": width, "height": height, "fps": rate if rate <= 1000 else 0.0}


def _sound_facts(container: InputContainer, path: Path, check: bool) -> dict[str, Any]:
    from affectus.media import containers

    try:
        stream = containers.audio_stream(container, path)
    except containers.NoAudioError:
        return {}
    if check and containers.first_frame(container, stream) is None:
        raise MediaError(path, "holds no audio samples that can be decoded", "record or export it again")
    found: dict[str, Any] = {"has_audio": True, "rate": stream.rate or 0, "channels": stream.channels or 0}
    if (count := len(container.streams.audio)) > 1:
        number = [each.index for each in container.streams.audio].index(stream.index) + 1
        tag = f" ({stream.language})" if stream.language not in (None, "und") else ""
        found["warnings"] = (f"of {count} sound tracks only number {number}{tag} is heard",)
    return found


def _scan_duration(container: InputContainer) -> float:
    """Length (s) by reading through all packets, for files that do not state it."""
    import av

    last = 0.0
    zero = (container.start_time or 0) / 1e6
    try:
        container.seek(0)
        for packet in container.demux():
            if packet.pts is not None and packet.time_base is not None:
                last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base) - zero)
    except av.error.FFmpegError:
        return last
    return last

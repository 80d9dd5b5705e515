"""Opening recordings with PyAV: one place for streams, clocks and the errors they give.

Times are seconds from the start of the file, that is from the earliest stream (`container.start_time`), so that video
and audio share one clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from affectus.errors import MediaError
from affectus.media.files import read_head

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet, VideoFrame, VideoStream
    from av.container import InputContainer

#: A demuxer that fails this often in a row has nothing more to give.
MAX_READ_ERRORS = 20


class NoAudioError(MediaError):
    """The recording has no audio stream; its pictures may still be analysed."""


class NoVideoError(MediaError):
    """The recording has no video stream; its sound may still be analysed."""


def open_recording(path: Path, stream: BinaryIO | None = None) -> InputContainer:
    """Open an audio or video file, or a seekable stream that `path` names; the caller closes it. Raises `MediaError`.

    Only the file itself is read: play lists and references to other files or addresses are not followed.
    """
    import av

    read_head(path, 1, stream)
    source = str(path.absolute()) if stream is None else stream
    options = {"protocol_whitelist": "file" if stream is None else "none"}
    try:
        return av.open(source, mode="r", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise MediaError(
            path, f"cannot be opened as a recording: {_reason(error)}", "copy or export it again"
        ) from None


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[0].lower() + text[1:]


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The moving picture of a recording; cover art attached to music is none. Raises `NoVideoError`."""
    from av.stream import Disposition

    cover = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & cover and s.codec_context is not None]
    if not streams:
        raise NoVideoError(path, "no video stream", "only its sound can be analysed")
    best = container.streams.best("video")
    return next((s for s in streams if best is not None and s.index == best.index), streams[0])


def audio_stream(container: InputContainer, path: Path) -> AudioStream:
    """The main sound of a recording. Raises `NoAudioError`."""
    streams = [s for s in container.streams.audio if s.codec_context is not None]
    if not streams:
        raise NoAudioError(path, "no audio stream", "only its pictures can be analysed")
    best = container.streams.best("audio")
    return next((s for s in streams if best is not None and s.index == best.index), streams[0])


def start_seconds(container: InputContainer) -> float:
    """Time stamp (s) of the start of the file, which counts as zero; may be negative or large."""
    return container.start_time / 1e6 if container.start_time is not None else 0.0


def stated_duration(container: InputContainer, stream: VideoStream | AudioStream) -> float:
    """Length (s) that the stream, or failing that the file, states; 0 when neither does."""
    if stream.duration is not None and stream.time_base is not None:
        return max(0.0, float(stream.duration * stream.time_base))
    return max(0.0, (container.duration or 0) / 1e6)


def packets(container: InputContainer, stream: VideoStream | AudioStream, warnings: list[str]) -> Iterator[Packet]:
    """Packets of one stream with data in them; damage between them is passed over and noted in `warnings`."""
    import av

    errors = 0
    while errors < MAX_READ_ERRORS:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    errors = 0
                    yield packet
            return
        except (av.error.FFmpegError, OSError) as error:
            if isinstance(error, av.error.EOFError):
                return
            if not errors:
                note(warnings, f"part of the file cannot be read: {_reason(error)}")
            errors += 1


def note(warnings: list[str], text: str) -> None:
    """Add a warning once."""
    if text not in warnings:
        warnings.append(text)


def first_frame(container: InputContainer, stream: VideoStream | AudioStream) -> VideoFrame | AudioFrame | None:
    """The first frame that decodes within the first packets, or None. Moves the read position."""
    import av

    for count, packet in enumerate(packets(container, stream, [])):
        try:
            frames = stream.codec_context.decode(packet)  # type: ignore[arg-type]
        except av.error.FFmpegError:
            frames = []
        if frames:
            return frames[0]
        if count >= 250:
            return None
    try:
        frames = stream.codec_context.decode(None)
    except av.error.FFmpegError:
        return None
    return frames[0] if frames else None

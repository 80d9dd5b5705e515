"""Video as a stream of sampled frames: a decoder thread, a short queue, real time stamps.

A frame is delivered when its time reaches the next point of the sampling grid. Packets are held back undecoded until
the grid point is near; when a key frame comes first, everything before it is thrown away unseen. Sparse sampling thus
decodes only the part of each group of pictures that leads up to a wanted frame, without the pitfalls of seeking.
"""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from affectus.errors import MediaError
from affectus.media.containers import note, open_recording, packets, start_seconds, stated_duration, video_stream
from affectus.types import Frame

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream

#: Frames decoded ahead of the consumer.
QUEUE_LENGTH = 8
#: Packets held back at most: bounds memory for streams without key frames.
MAX_HELD = 600
#: From this many source frames per sample on, pictures that no other picture refers to are not decoded.
SKIP_FROM = 4.0
#: Decoding times never run backwards; where they do by more than this (s), the clock was started anew.
RESTART = 0.3
#: Seconds before the wanted start to aim at, because some containers can only be searched roughly.
SEEK_MARGIN = 5.0


def video_frames(
    path: str | Path, fps: float = 5.0, max_side: int = 1280, start: float = 0.0, end: float | None = None
) -> VideoFrames:
    """Frames of a video at about `fps` per second within `[start, end)` seconds, as an iterator of `Frame`.

    `Frame.image` is RGB uint8 upright (rotation and mirror flags applied) with square pixels, its longer side at most
    `max_side` (never enlarged); `Frame.time` is the time stamp of the picture in seconds from the start of the file.
    No picture is delivered twice: where the source has fewer pictures than `fps`, so has the result. `fps=math.inf`
    gives every picture. The iterator has a list `warnings` (complete once it is exhausted: damage, truncation, odd
    time stamps) and a `close()`; leaving it half-way, by `break` or `with`, ends the decoder thread.

    Raises `MediaError` when the file cannot be opened, `NoVideoError` when it has no moving pictures, and on iteration
    `MediaError` when not one picture can be decoded. A file cut off in the middle gives the frames it has.
    """
    return VideoFrames(Path(path), fps, max_side, start, end)


class VideoFrames(Iterator[Frame]):
    """Iterator over sampled frames; made by `video_frames`."""

    def __init__(self, path: Path, fps: float, max_side: int, start: float, end: float | None) -> None:
        if not fps > 0:
            raise MediaError(path, f"frames per second must be above 0, not {fps}")
        if max_side < 2:
            raise MediaError(path, f"max_side must be at least 2, not {max_side}")
        if not (start >= 0 and (end is None or end >= start)):
            raise MediaError(path, f"the span from {start} s to {end} s is empty or negative")
        self.warnings: list[str] = []
        self._stop = threading.Event()
        self._queue: queue.Queue[Frame | BaseException | None] = queue.Queue(QUEUE_LENGTH)
        self._decoder = _Decoder(path, fps, max_side, start, math.inf if end is None else end, self.warnings)
        self._thread: threading.Thread | None = None
        self._done = False

    def __iter__(self) -> VideoFrames:
        return self

    def __next__(self) -> Frame:
        if self._done:
            raise StopIteration
        if self._thread is None:
            # The thread knows the decoder and the queue but not this object, so that dropping it ends the thread.
            self._thread = threading.Thread(
                target=_produce, args=(self._decoder, self._queue, self._stop), name="affectus-video", daemon=True
            )
            self._thread.start()
        item = self._queue.get()
        if isinstance(item, Frame):
            return item
        self.close()
        if item is not None:
            raise item
        raise StopIteration

    def __enter__(self) -> VideoFrames:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_decoder"):
            self._stop.set()
            if self._thread is None:
                self._decoder.close()

    def close(self) -> None:
        """End the decoder thread and close the file; safe to call twice."""
        self._done = True
        self._stop.set()
        if self._thread is None:
            self._decoder.close()
        else:
            self._thread.join()


def _produce(decoder: _Decoder, frames: queue.Queue[Frame | BaseException | None], stop: threading.Event) -> None:
    """Body of the decoder thread: frames, then None, or the error that ended it."""

    def put(item: Frame | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                frames.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    try:
        for frame in decoder.frames():
            if not put(frame):
                return
        put(None)
    except BaseException as error:
        put(error)
    finally:
        decoder.close()


class _Grid:
    """The points in time at which a frame is wanted: `start + k / fps`."""

    def __init__(self, fps: float, start: float, tolerance: float) -> None:
        self.fps, self.start, self.tolerance = fps, start, tolerance
        self.due = start

    def wants(self, time: float) -> bool:
        return time >= self.due - self.tolerance

    def take(self, time: float) -> None:
        """Move on to the first grid point after a delivered frame."""
        if math.isinf(self.fps):
            self.due = max(self.due, time)
        else:
            self.due = self.start + (math.floor((time + self.tolerance - self.start) * self.fps) + 1) / self.fps


class _Decoder:
    """Demuxes and decodes one video stream; used by one thread at a time."""

    def __init__(self, path: Path, fps: float, max_side: int, start: float, end: float, warnings: list[str]) -> None:
        from av.video.reformatter import VideoReformatter

        self.path, self.max_side, self.end, self.warnings = path, max_side, end, warnings
        self.container = open_recording(path)
        try:
            self.stream = video_stream(self.container, path)
        except MediaError:
            self.container.close()
            raise
        self.codec = self.stream.codec_context
        self.codec.thread_type = "AUTO"
        self.codec.thread_count = min(4, os.cpu_count() or 1)
        rate = float(self.stream.average_rate or self.stream.guessed_rate or 0)
        self.step = 1 / rate if 0 < rate <= 1000 else 1 / 25
        self.grid = _Grid(fps, start, min(0.5 * self.step, 0.5 / fps))
        self.skipping = 1 / fps >= SKIP_FROM * self.step
        if self.skipping:
            self.codec.skip_frame = "NONREF"
        self.offset = -start_seconds(self.container)
        self.reformatter = VideoReformatter()
        self.decoded = self.delivered = self.damaged = 0
        self.last = -self.step  # time of the last decoded picture
        self.clock = -math.inf  # latest decoding time stamp seen
        self.pending = False  # whether the decoder may hold pictures
        self.sought = False
        self.turned: tuple[np.ndarray | None] | None = None  # display matrix of this stretch, once known

    def close(self) -> None:
        self.container.close()

    def frames(self) -> Iterator[Frame]:
        """All wanted frames in order; see `video_frames`."""
        self._seek()
        held: list[Packet] = []
        for packet in packets(self.container, self.stream, self.warnings):
            if packet.pts is None:
                self._stop_skipping()
            if self._jumped_back(packet):
                yield from self._decode(held)
                yield from self._drain()
                held = []
                self._mend_clock(packet)
            if held and packet.is_keyframe and self._seconds(packet.pts) <= self.grid.due:
                yield from self._drain()
                held = []
            held.append(packet)
            if not self._seconds(packet.dts) < self.grid.due - 2 * self.step or len(held) >= MAX_HELD:
                yield from self._decode(held)
                held = []
            if self.grid.due >= self.end - 1e-6:
                return
        yield from self._decode(held)
        yield from self._drain()
        self._conclude()

    def _seek(self) -> None:
        """Go near the start of the span; what lies between there and the last key frame is thrown away unseen."""
        import av

        target = self.grid.start - SEEK_MARGIN
        if target <= 0 or not stated_duration(self.container, self.stream):
            return  # raw streams without time stamps must be counted from their beginning
        try:
            self.container.seek(int((target - self.offset) * 1e6), backward=True)
            self.sought = True
        except av.error.FFmpegError:
            note(self.warnings, "the file cannot be searched; read from its beginning")

    def _stop_skipping(self) -> None:
        if self.skipping:
            self.codec.skip_frame = "DEFAULT"
            self.skipping = False

    def _seconds(self, stamp: int | None) -> float:
        """Time of a stamp of this stream; NaN when it is missing."""
        if stamp is None or self.stream.time_base is None:
            return math.nan
        return float(stamp * self.stream.time_base) + self.offset

    def _jumped_back(self, packet: Packet) -> bool:
        """Whether the clock of the stream restarts here, as in recordings glued together."""
        time = self._seconds(packet.dts)
        if math.isnan(time):
            return False
        jumped = time < self.clock - RESTART
        self.clock = max(self.clock, time)
        return jumped

    def _mend_clock(self, packet: Packet) -> None:
        note(self.warnings, f"time stamps jump back at {self.clock:.2f} s; counted on from there")
        self.turned = None
        self.offset += self.clock + self.step - self._seconds(packet.dts)

    def _decode(self, held: list[Packet]) -> Iterator[Frame]:
        import av

        for packet in held:
            try:
                pictures = self.codec.decode(packet)
            except av.error.FFmpegError:
                self.damaged += 1
                continue
            self.pending = True
            for picture in pictures:
                yield from self._deliver(picture)

    def _drain(self) -> Iterator[Frame]:
        """Get the pictures still inside the decoder and make it ready for a key frame."""
        import av

        if not self.pending:
            return
        try:
            pictures = self.codec.decode(None)
        except av.error.FFmpegError:
            self.damaged += 1
            pictures = []
        for picture in pictures:
            yield from self._deliver(picture)
        self.codec.flush_buffers()
        self.pending = False

    def _deliver(self, picture: VideoFrame) -> Iterator[Frame]:
        if picture.is_corrupt:
            self.damaged += 1
            return
        self.decoded += 1
        time = self._seconds(picture.pts)
        time = max(0.0, self.last + self.step if math.isnan(time) else time)
        self.last = max(self.last, time)
        if not self.grid.wants(time) or max(time, self.grid.due) >= self.end - 1e-6:
            return
        if self.skipping and self.delivered and time - self.grid.due > 0.5 / self.grid.fps:
            self._stop_skipping()  # too few pictures are left for this grid
        self.grid.take(time)
        yield Frame(self.delivered, time, self._pixels(picture))
        self.delivered += 1

    def _pixels(self, picture: VideoFrame) -> np.ndarray:
        width, height = _scaled_size(picture, self.stream, self.max_side)
        rgb = self.reformatter.reformat(picture, width, height, "rgb24")
        if self.turned is None:
            # Asked once for each stretch of the recording: PyAV ties a picture whose side data was looked at into a
            # reference cycle, and pictures waiting for the garbage collector were hundreds of megabytes.
            self.turned = (_display_matrix(picture),)
        return upright(rgb.to_ndarray(), self.turned[0])

    def _conclude(self) -> None:
        """Say what was wrong once the end of the file is reached."""
        if not self.decoded and not self.sought:
            raise MediaError(self.path, "not one picture of the video can be decoded", "copy or export it again")
        if self.damaged:
            note(self.warnings, f"{self.damaged} damaged pictures or packets were left out")
        stated = stated_duration(self.container, self.stream)
        last = max(self.last, self.clock) + self.step
        if last < stated - max(1.0, 0.05 * stated):
            note(self.warnings, f"the video ends at {last:.1f} s of {stated:.1f} s stated: the file is cut off")


def displayed_size(picture: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Width and height of a picture as shown: square pixels, upright."""
    width, height = _scaled_size(picture, stream, 1 << 20)
    matrix = _display_matrix(picture)
    return (height, width) if matrix is not None and _is_on_its_side(matrix) else (width, height)


def _scaled_size(picture: VideoFrame, stream: VideoStream, max_side: int) -> tuple[int, int]:
    """Size with square pixels, not yet turned, whose longer side is at most `max_side`."""
    aspect = float(stream.sample_aspect_ratio or 0)
    shown = picture.width * (aspect if 1 / 8 <= aspect <= 8 else 1.0)
    scale = min(1.0, max_side / max(shown, picture.height))
    return max(1, round(shown * scale)), max(1, round(picture.height * scale))


def _display_matrix(picture: VideoFrame) -> np.ndarray | None:
    """The 2 × 2 part of the display matrix of a picture (row vectors: `[x, y] @ m`), or None."""
    from av.sidedata.sidedata import Type

    data = cast("Mapping[Type, Any]", picture.side_data).get(Type.DISPLAYMATRIX)
    if data is None:
        return None
    return np.frombuffer(bytes(data), dtype=np.int32).reshape(3, 3)[:2, :2].astype(np.float64)


def _is_on_its_side(matrix: np.ndarray) -> bool:
    return bool(abs(matrix[0, 1]) > abs(matrix[0, 0]))


def upright(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Apply a display matrix, rounded to quarter turns and mirrorings, to an image (height, width, 3)."""
    if matrix is None:
        return image
    if _is_on_its_side(matrix):
        image = image.transpose(1, 0, 2)
        along_x, along_y = matrix[1, 0], matrix[0, 1]
    else:
        along_x, along_y = matrix[0, 0], matrix[1, 1]
    if along_x < 0:
        image = image[:, ::-1]
    if along_y < 0:
        image = image[::-1]
    return np.ascontiguousarray(image)

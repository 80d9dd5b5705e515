"""One file from bytes to timeline: one pass over its pictures, one over its sound, then words, fusion, explanation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from affectus import __version__, media
from affectus.analysis import baseline, explanation, speakers, texts, transcripts
from affectus.analysis.engines import Engines
from affectus.analysis.fusion import UNCERTAIN
from affectus.analysis.memory import give_back, steady
from affectus.analysis.perceive_faces import FaceEvidence, FacePass
from affectus.analysis.perceive_scene import KeyFrame, ScenePass
from affectus.analysis.perceive_voice import SpokenTurn, VoicePass
from affectus.analysis.perceive_words import WordsTurn
from affectus.analysis.persons import FusedWindow, Gatherer, write_window
from affectus.analysis.rows import RowSink
from affectus.analysis.settings import Settings
from affectus.errors import AffectusError, ConfigError, MediaError
from affectus.media.tracking import CutDetector
from affectus.types import Card, Frame, Timeline, Turn

log = logging.getLogger("affectus.analysis")

#: Called with the stage and the share of it that is done, 0…1.
Progress = Callable[[str, float], None]
#: Kinds of files as a user calls them.
_A_KIND = {"video": "a video", "audio": "a sound", "image": "a picture"}
#: Recordings longer than this (s) give memory back between stages; for short ones loading it anew costs more.
LONG = 600.0
#: Seconds of sound per block.
BLOCK = 10.0


@dataclass
class Findings:
    """What is known about one file while it is analysed."""

    info: media.MediaInfo
    warnings: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    faces: FaceEvidence | None = None
    key_frames: list[KeyFrame] = field(default_factory=list)
    spoken: list[SpokenTurn] = field(default_factory=list)
    words: list[WordsTurn] = field(default_factory=list)
    windows: list[FusedWindow] = field(default_factory=list)  #: those an explanation may want
    rate: float = 0.0
    cards: list[Card] = field(default_factory=list)  #: readings used beside the models
    facts: dict[str, Any] = field(default_factory=dict)  #: more for the meta data of the file

    @property
    def timed(self) -> bool:
        """Whether the file runs in time (video, audio, subtitles)."""
        return self.info.kind in ("video", "audio")


def analyze_file(path: Path, settings: Settings, engines: Engines, progress: Progress | None = None) -> Timeline:
    """Timeline of one file; raises AffectusError when it cannot be read or no chosen model can run on it."""
    info = media.probe(path)
    tell = progress or (lambda stage, share: None)
    found = Findings(info, list(info.warnings))
    with RowSink(str(path)) as sink:
        if info.kind in ("video", "audio"):
            _recording(path, settings, engines, found, sink, tell)
        elif settings.transcript is not None:
            reason = f"belongs to a recording, but {path.name} is {_A_KIND.get(info.kind, 'a text')}"
            raise ConfigError("transcript", reason, "leave --transcript away or give a video or sound file")
        elif info.kind == "image":
            _picture(path, settings, engines, found, sink)
        else:
            texts.analyze_text(path, settings, engines, found, sink, tell)
        _refuse_nothing(path, settings, engines, found)
        table = sink.finish()
    return Timeline(table, _meta(path, settings, engines, found))


def _recording(
    path: Path, settings: Settings, engines: Engines, found: Findings, sink: RowSink, tell: Progress
) -> None:
    steady()
    cues = transcripts.read(path, settings, found)
    if found.info.has_video:
        _pictures(path, settings, engines, found, sink, tell)
    if found.info.has_audio:
        _sound(path, settings, engines, found, cues, tell)
    elif "voice" in settings.modalities:
        found.missing["voice"] = "the recording has no sound"
    view = speakers.Visibility(found.faces, settings.window, found.rate)
    names = speakers.join(found.spoken, view)
    _write_voices(found.spoken, engines, sink)
    _say(cues, settings, engines, found, view, sink)
    tell("fusion", 0.0)
    gatherer = Gatherer(engines, settings.window, found.rate)
    if found.faces is not None:
        factors = baseline.corrections(found.faces, sink, found.warnings) if settings.baseline else {}
        gatherer.faces(found.faces, names, factors)
    gatherer.voices(found.spoken)
    gatherer.words(found.words)
    end = found.info.duration
    for person, number, opinions in gatherer.windows():
        start = number * settings.window
        span = (start, min(start + settings.window, end) if end > start else start + settings.window)
        window = write_window(sink, person, number, span, opinions, settings.confidence, settings.conflict)
        if window.conflict is not None or window.decision not in (UNCERTAIN, "neutral"):
            found.windows.append(window)
    explanation.explain(found, engines, sink, settings)
    tell("fusion", 1.0)


def _pictures(path: Path, settings: Settings, engines: Engines, found: Findings, sink: RowSink, tell: Progress) -> None:
    """One pass over the frames for faces and key frames."""
    face_model, scene_model = engines.model("face"), engines.model("scene")
    detector = engines.face_detector() if face_model is not None else None
    if detector is None and scene_model is None:
        return
    rate = min(settings.fps, found.info.fps) if found.info.fps else settings.fps
    landmarker = engines.landmarker()
    faces = None
    if face_model is not None and detector is not None:
        faces = FacePass(face_model, detector, sink, settings.window, rate, landmarker)
    scene = ScenePass(scene_model, sink, settings.scene_every) if scene_model is not None else None
    cuts = CutDetector()
    first: Frame | None = None
    last, count = 0.0, 0
    with media.video_frames(path, settings.fps, settings.max_side) as frames:
        for frame in frames:
            first = first or Frame(0, frame.time, frame.image[:1, :1])
            cut = cuts.push(frame.image)
            if faces is not None:
                faces.push(frame, cut)
            if scene is not None:
                scene.push(frame, cut)
            last, count = frame.time, count + 1
            tell("pictures", frame.time / found.info.duration if found.info.duration else 0.0)
    found.warnings += frames.warnings
    seconds = last - first.time if first else 0.0
    found.rate = (count - 1) / seconds if count > 1 and seconds > 0 else settings.fps
    if scene is not None:
        found.key_frames = scene.finish(max(found.info.duration, last))
    if faces is not None:
        found.faces = faces.finish()
        if not found.faces.windows:
            found.warnings.append("no face was found in the pictures")
        if found.faces.dropped:
            found.warnings.append(f"{found.faces.dropped} faces seen only for a moment were left out")
    if found.info.duration > LONG:
        give_back()
    tell("pictures", 1.0)


def _sound(
    path: Path, settings: Settings, engines: Engines, found: Findings, cues: list[Turn] | None, tell: Progress
) -> None:
    """One pass over the sound for turns, voice scores, prosody and, without a transcript, words."""
    wanted = set(settings.modalities) & {"voice", "words"}
    recognise = "words" in wanted and cues is None
    if not wanted or (wanted == {"words"} and not recognise):
        return
    voice = engines.model("voice")
    if voice is None and not recognise:
        return
    detector = engines.speech_detector()
    if detector is None:
        if recognise:
            found.missing["words"] = f"words cannot be recognised without finding speech: {engines.missing['voice']}"
        return
    named = [t for t in cues or () if np.isfinite(t.start)]
    language = settings.language if recognise else None
    speech = VoicePass(detector, voice, settings.voice_window, settings.voice_hop, named, language)
    with media.audio_blocks(path, seconds=BLOCK) as blocks:
        for start, block in blocks:
            speech.push(block)
            tell("sound", start / found.info.duration if found.info.duration else 0.0)
    speech.finish()
    if found.info.duration > LONG:
        give_back(recogniser=True)
    found.warnings += [w for w in blocks.warnings if w not in found.warnings]
    found.spoken = speech.turns
    if not speech.turns:
        found.warnings.append("no speech was found in the sound")
    if recognise:
        found.words = [WordsTurn(turn, i) for i, turn in enumerate(speech.sentences)]
        if speech.words_missing:
            found.missing["words"] = f"{speech.words_missing}; or give --transcript FILE"
        elif speech.turns and not speech.sentences:
            found.warnings.append("no words were recognised with confidence in the speech")
    tell("sound", 1.0)


def _write_voices(turns: Sequence[SpokenTurn], engines: Engines, sink: RowSink) -> None:
    model = engines.model("voice")
    for turn in turns:
        for score in turn.scores:
            prediction = score.prediction
            shared: dict[str, Any] = {
                "start": score.window.start,
                "end": score.window.end,
                "speaker": turn.speaker,
                "track": turn.track,
                "source": "voice",
                "method": model.card.name if model is not None else "voice",
                "perspective": prediction.perspective,
            }
            first = sink.add_scores(prediction.labels, prediction.scores, space=prediction.space, **shared)
            turn.rows.append(first + int(np.argmax(prediction.scores)))
            names = tuple(prediction.dimensions)
            sink.add_scores(names, [prediction.dimensions[n] for n in names], space="va", **shared)


def _say(
    cues: list[Turn] | None,
    settings: Settings,
    engines: Engines,
    found: Findings,
    view: speakers.Visibility,
    sink: RowSink,
) -> None:
    """Score the words of a recording, from the transcript or as recognised."""
    if "words" not in settings.modalities:
        return
    if cues is not None:
        found.words = [WordsTurn(turn, i) for i, turn in enumerate(cues)]
    for item in found.words:
        item.track = _track_of(item.turn, found.spoken, view)
    texts.score_words(found, engines, sink, settings, timed=True)


def _track_of(turn: Turn, spoken: Sequence[SpokenTurn], view: speakers.Visibility) -> int:
    """Face of a sentence: that of the detected turn it shares most time with, else the one alone in view."""
    if not np.isfinite(turn.start):
        return -1
    shares = [(min(turn.end, s.window.end) - max(turn.start, s.window.start), s) for s in spoken]
    best = max(shares, key=lambda pair: pair[0], default=None)
    if best is not None and best[0] > 0:
        return best[1].track
    return speakers.speaking(view.during(turn.start, turn.end)) if not spoken else -1


def _picture(path: Path, settings: Settings, engines: Engines, found: Findings, sink: RowSink) -> None:
    image = media.read_image(path, max_side=max(settings.max_side, 1920))
    frame = Frame(0, 0.0, image)
    scene_model, face_model = engines.model("scene"), engines.model("face")
    if scene_model is not None:
        scene = ScenePass(scene_model, sink, settings.scene_every)
        scene.push(frame)
        found.key_frames = scene.finish(0.0)
    detector = engines.face_detector() if face_model is not None else None
    if face_model is not None and detector is not None:
        faces = FacePass(face_model, detector, sink, settings.window, 1.0, engines.landmarker())
        faces.push(frame)
        found.faces = faces.finish()
        found.rate = 1.0 / settings.window
        if not found.faces.windows:
            found.warnings.append("no face was found in the picture")
        gatherer = Gatherer(engines, settings.window, found.rate)
        gatherer.faces(found.faces, {}, {})
        for person, number, opinions in gatherer.windows():
            window = write_window(
                sink, person, number, (0.0, 0.0), opinions, settings.confidence, settings.conflict, frame=0
            )
            found.windows.append(window)
    explanation.explain(found, engines, sink, settings)


def _refuse_nothing(path: Path, settings: Settings, engines: Engines, found: Findings) -> None:
    """Collect why modalities are missing; refuse a run in which nothing at all could look at the file."""
    able = {
        "video": ("face", "voice", "words", "scene"),
        "audio": ("voice", "words"),
        "image": ("face", "scene"),
    }.get(found.info.kind, ("words",))
    for name, reason in engines.missing.items():
        if name in able and name in settings.modalities:
            found.missing.setdefault(name, reason)
    chosen = [name for name in able if name in settings.modalities]
    if not chosen:
        kind = _A_KIND.get(found.info.kind, "a text")
        raise MediaError(path, f"is {kind}, and no chosen modality can look at that", f"add {' or '.join(able)}")
    if all(name in found.missing for name in chosen):
        reasons = "; ".join(f"{name}: {found.missing[name]}" for name in chosen)
        # What lacks because of the file itself says what helps; the doctor knows only what is installed.
        remedy = "see `affectus doctor`" if any(name in engines.missing for name in chosen) else ""
        raise AffectusError(path, f"no model could look at it: {reasons}", remedy)


def _meta(path: Path, settings: Settings, engines: Engines, found: Findings) -> dict[str, Any]:
    info = found.info
    facts = {
        "kind": info.kind,
        "duration": info.duration,
        "width": info.width,
        "height": info.height,
        "fps": found.rate,
        "warnings": list(dict.fromkeys(found.warnings)),
        "missing": dict(found.missing),
        "thumbnails": {str(k): v for k, v in (found.faces.thumbnails if found.faces else {}).items()},
        **found.facts,
    }
    return {
        "version": __version__,
        "settings": settings.record(),
        "models": [asdict(card) for card in (*engines.cards(), *found.cards)],
        "files": {str(path): facts},
    }

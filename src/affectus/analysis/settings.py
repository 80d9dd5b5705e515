"""What can be chosen about an analysis, checked once."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from affectus.errors import ConfigError
from affectus.media.tables import ROLES

MODALITIES = ("face", "voice", "words", "scene")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Settings:
    """All choices of one analysis.

    `modalities`: which of face, voice, words, scene to look at. `transcript`: subtitle, table or text file with what is
    said; without it a side-car subtitle, else speech recognition. `fps`: pictures looked at per second. `window`:
    seconds per fused result. `language`: "auto" (English) or a code such as "de", for speech recognition. `device`:
    "auto", "cpu" or "cuda". `baseline`: correct each face by its own median (see `baseline`). `confidence`: fused
    probability from which a label is named, below it the decision is `uncertain`. `conflict`: Jensen–Shannon divergence
    (bits) from which two modalities are said to disagree. `context`: read the turns of a conversation as the card
    `context` says. `gap_hints`: mark turns that writer and reader may see differently (weak hints). `voice_window`,
    `voice_hop`: seconds per voice score and from one to the next. `scene_every`: seconds between key frames within a
    shot. `max_side`: longer side (px) to which frames are scaled while decoding. `describe`: add open words and a short
    explanation per person and turn. `llm`: the language model that words it ("packaged", a hub id, a folder,
    `http(s)://…/v1[#model]`), "" for the evidence template. `llm_timeout`: seconds it may take per turn. `columns`:
    which column of a table is what, where its name does not tell: role (`text`, `speaker`, `start` …) → column.
    """

    modalities: tuple[str, ...] = MODALITIES
    transcript: Path | None = None
    fps: float = 5.0
    window: float = 1.0
    language: str = "auto"
    device: str = "auto"
    baseline: bool = False
    confidence: float = 0.45
    conflict: float = 0.4
    context: bool = True
    gap_hints: bool = True
    voice_window: float = 3.0
    voice_hop: float = 1.5
    scene_every: float = 10.0
    max_side: int = 1280
    describe: bool = False
    llm: str = ""
    llm_timeout: float = 60.0
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chosen = (self.modalities,) if isinstance(self.modalities, str) else tuple(self.modalities)
        object.__setattr__(self, "modalities", tuple(m for m in MODALITIES if m in chosen))
        if unknown := sorted(set(chosen) - set(MODALITIES)):
            raise ConfigError("modalities", f"{', '.join(unknown)} is unknown", f"choose from {', '.join(MODALITIES)}")
        if not chosen:
            raise ConfigError("modalities", "none was chosen", f"choose from {', '.join(MODALITIES)}")
        if self.device not in DEVICES:
            raise ConfigError("device", f"{self.device!r} is unknown", f"choose from {', '.join(DEVICES)}")
        if not re.fullmatch(r"auto|[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*", self.language.strip()):
            raise ConfigError(
                "language", f"{self.language!r} is no language code", "use auto, or a code such as en or de"
            )
        if self.llm and not self.describe:
            raise ConfigError("llm", "was chosen, but no descriptions are wanted", "add --describe (describe=True)")
        if unknown := sorted(set(self.columns) - set(ROLES)):
            raise ConfigError("columns", f"{', '.join(unknown)} is no role", f"choose from {', '.join(ROLES)}")
        if self.transcript is not None:
            object.__setattr__(self, "transcript", Path(self.transcript))
        for name, low, high in (
            ("fps", 0.01, 240.0),
            ("window", 0.1, 3600.0),
            ("confidence", 0.0, 1.0),
            ("conflict", 0.0, 1.0),
            ("voice_window", 0.5, 10.0),
            ("voice_hop", 0.1, 10.0),
            ("scene_every", 0.5, 3600.0),
            ("max_side", 64, 8192),
            ("llm_timeout", 0.1, 3600.0),
        ):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and low <= value <= high):
                raise ConfigError(name.replace("_", "-"), f"is {value}", f"give a number from {low:g} to {high:g}")

    def record(self) -> dict[str, Any]:
        """All choices as plain values, for the meta data of a timeline."""
        return asdict(self) | {"modalities": list(self.modalities), "transcript": str(self.transcript or "") or None}

    def fingerprint(self, more: Mapping[str, Any]) -> str:
        """Hash (16 hex digits) of all choices and of `more`, e.g. versions: equal runs give equal results."""
        text = json.dumps([self.record(), more], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

"""Errors a user can act on: each names the file (or thing), the reason and, where there is one, the remedy."""

from __future__ import annotations

from pathlib import Path


class AffectusError(Exception):
    """Base of all errors raised on purpose.

    `subject` is the file or thing concerned, `reason` one clause without a full stop, `remedy` what to do about it.
    """

    def __init__(self, subject: str | Path, reason: str, remedy: str = "") -> None:
        self.subject, self.reason, self.remedy = str(subject), reason, remedy
        super().__init__(f"{subject}: {reason}" + (f" ({remedy})" if remedy else ""))


class MediaError(AffectusError):
    """A recording, picture or text cannot be read."""


class AssetError(AffectusError):
    """A foreign model file is missing, damaged or cannot be fetched."""


class LabelError(AffectusError):
    """A label, label space or rating is unknown or malformed."""


class CorpusError(AffectusError):
    """A corpus folder lacks something, holds something malformed, or would leak between splits."""


class ModelError(AffectusError):
    """A model, its card or its input is unusable."""


class ConfigError(AffectusError):
    """A recipe, option or setting is wrong."""

"""Recipes: everything that makes a training run, in one YAML file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from affectus.errors import ConfigError
from affectus.nn.phase import Phase

#: A row on both sides (`id`) is a mistake that no reason excuses.
LeakKind = Annotated[str, StringConstraints(pattern=r"^(media|text|near text|group:\w+)$")]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10)]


class Recipe(BaseModel):
    """One training run.

    `model` names what is trained, `corpora` what it learns from (name → what of it), `phases` how (fields of `Phase`; a
    published system declares its own when there are none), `options` settings of that model, `card` the part of its
    model card that is known before anything is measured, `expected` the numbers the run gave when it was recorded and
    its cost.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    title: str
    version: str = "1"
    corpora: dict[str, str]
    seed: int = 0
    precision: Literal["no", "bf16"] = "no"
    phases: list[Phase] = Field(default_factory=list)
    options: dict[str, Any] = Field(default_factory=dict)
    card: dict[str, Any] = Field(default_factory=dict)
    expected: dict[str, Any] = Field(default_factory=dict)
    accept_leaks: dict[LeakKind, Reason] = Field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Hash of what makes the weights besides the phases: model, names of corpora, options, seed and precision."""
        made_of = [self.model, sorted(self.corpora), self.options, self.seed, self.precision]
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]

    @field_validator("phases", mode="before")
    @classmethod
    def _known_settings(cls, value: Any) -> Any:
        """Pydantic would pass over settings that a dataclass does not have."""
        known = {f.name for f in fields(Phase)}
        for entry in value if isinstance(value, list) else []:
            if isinstance(entry, dict) and (unknown := set(entry) - known):
                raise ValueError(f"unknown phase settings {sorted(map(str, unknown))}; known are {sorted(known)}")
        return value


def read_recipe(path: Path) -> Recipe:
    """Parse and check a recipe; raises ConfigError naming the file and the first wrong setting."""
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Recipe.model_validate(record)
    except FileNotFoundError as error:
        raise ConfigError(path, "does not exist", "see the recipes/ folder") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, "cannot be read as text") from error
    except yaml.YAMLError as error:
        raise ConfigError(path, f"is not valid YAML: {str(error).splitlines()[0]}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise ConfigError(path, f"{place}: {first['msg']}") from error

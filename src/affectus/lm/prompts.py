"""Prompts as text files: versioned, hashed, with placeholders and parts that depend on what is there.

A prompt file has a front matter between two `---` lines (YAML: `version`, `title`, `source`, optional `defaults`) and a
body. A line `@system`, `@user` or `@assistant` starts a message of that role; a body without such lines is one user
message. In the body

    {subtitle}                      a placeholder: its value must be given
    {#audio} ... {/audio}           kept only when `audio` is given and not empty
    {^audio} ... {/audio}           kept only when it is not

Names are lower-case identifiers, so JSON in a prompt needs no escaping. The SHA-256 of the body goes into every record
that a prompt had a part in: a changed prompt is another prompt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from affectus.errors import ConfigError

#: One message of a conversation: `role` (system, user, assistant) and `content`.
Message = dict[str, str]

_ROLE = re.compile(r"^@(system|user|assistant)[ \t]*$", re.MULTILINE)
_NAME = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_PART = re.compile(r"\{([#^])([a-z][a-z0-9_]*)\}(.*?)\{/\2\}", re.DOTALL)
_STRAY = re.compile(r"\{[#^/][a-z][a-z0-9_]*\}")


@dataclass(frozen=True)
class Prompt:
    """One prompt: its name (`folder/file`), version, body and facts about it."""

    name: str
    version: str
    body: str
    title: str = ""
    source: str = ""
    defaults: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the body."""
        return hashlib.sha256(self.body.encode()).hexdigest()

    @property
    def required(self) -> frozenset[str]:
        """Placeholders that stand outside every optional part and have no default."""
        return frozenset(_NAME.findall(_PART.sub("", self.body))) - set(self.defaults)

    @property
    def known(self) -> frozenset[str]:
        """Every name the body uses, in placeholders or as a condition."""
        return frozenset(_NAME.findall(self.body)) | {name for _, name in _conditions(self.body)}

    def messages(self, **values: Any) -> list[Message]:
        """The messages with all placeholders filled; values are turned into text, None counts as not given.

        ConfigError for a value that is missing or that the prompt does not know.
        """
        return [{"role": role, "content": text} for role, text in _roles(self.text(**values))]

    def text(self, **values: Any) -> str:
        """The filled body as one text, role lines included."""
        if unknown := sorted(set(values) - self.known):
            raise ConfigError(
                f"prompt {self.name}", f"does not use {', '.join(unknown)}", f"it uses {', '.join(sorted(self.known))}"
            )
        given = {**self.defaults, **{k: str(v) for k, v in values.items() if v is not None}}
        body = _choose(self.body, given)
        missing = sorted(set(_NAME.findall(body)) - set(given))
        if missing:
            raise ConfigError(f"prompt {self.name}", f"lacks a value for {', '.join(missing)}")
        return _NAME.sub(lambda found: given[found.group(1)], body).strip()

    def record(self) -> dict[str, str]:
        """What a result must say about the prompt it came from."""
        return {"name": self.name, "version": self.version, "sha256": self.digest}


def parse_prompt(text: str, name: str) -> Prompt:
    """A prompt from the text of its file; ConfigError says what is wrong with it."""
    lines = text.replace("\r\n", "\n").split("\n")
    if not lines or lines[0].strip() != "---" or "---" not in [line.strip() for line in lines[1:]]:
        raise ConfigError(f"prompt {name}", "has no front matter between two '---' lines")
    end = [line.strip() for line in lines[1:]].index("---") + 1
    try:
        front = yaml.safe_load("\n".join(lines[1:end])) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"prompt {name}", f"its front matter is no YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(front, dict) or "version" not in front:
        raise ConfigError(f"prompt {name}", "its front matter lacks a version")
    if extra := set(front) - {"version", "title", "source", "defaults"}:
        raise ConfigError(f"prompt {name}", f"its front matter has unknown entries: {', '.join(sorted(extra))}")
    body = "\n".join(line.rstrip() for line in lines[end + 1 :]).strip() + "\n"
    if stray := _STRAY.findall(_without_parts(body)):
        raise ConfigError(f"prompt {name}", f"{stray[0]} has no counterpart")
    if not body.strip():
        raise ConfigError(f"prompt {name}", "is empty")
    if list(_ROLE.finditer(body)) and body[: next(_ROLE.finditer(body)).start()].strip():
        raise ConfigError(f"prompt {name}", "has text before its first role line")
    defaults = {k: str(v) for k, v in (front.get("defaults") or {}).items()}
    return Prompt(name, str(front["version"]), body, front.get("title", ""), front.get("source", ""), defaults)


def load_prompt(name: str, folder: str | Path | None = None) -> Prompt:
    """A prompt by name (`words/describe`): of the library, or of a folder of `*.txt` files.

    ConfigError with the names there are when it is not found.
    """
    if folder is None:
        return _packaged(name)
    path = Path(folder) / f"{name}.txt"
    if not path.is_file():
        raise ConfigError(path, "no such prompt", f"there are {', '.join(list_prompts(folder)) or 'none'}")
    return parse_prompt(path.read_text(encoding="utf-8"), name)


def list_prompts(folder: str | Path | None = None) -> list[str]:
    """Names of all prompts of the library or of a folder, sorted."""
    if folder is None:
        root = files("affectus.lm").joinpath("data", "prompts")
        return sorted(
            f"{group.name}/{entry.name.removesuffix('.txt')}"
            for group in root.iterdir()
            if group.is_dir()
            for entry in group.iterdir()
            if entry.name.endswith(".txt")
        )
    root_path = Path(folder)
    return sorted(str(path.relative_to(root_path).with_suffix("").as_posix()) for path in root_path.rglob("*.txt"))


@lru_cache(maxsize=256)
def _packaged(name: str) -> Prompt:
    if name not in list_prompts():
        raise ConfigError(f"prompt {name}", "no such prompt", f"there are {', '.join(list_prompts())}")
    resource = files("affectus.lm").joinpath("data", "prompts", *f"{name}.txt".split("/"))
    return parse_prompt(resource.read_text(encoding="utf-8"), name)


def _conditions(body: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for kind, name, inner in _PART.findall(body):
        found += [(kind, name), *_conditions(inner)]
    return found


def _without_parts(body: str) -> str:
    """The body with all optional parts opened up, so that what is left of their marks is stray."""
    while _PART.search(body):
        body = _PART.sub(r"\3", body)
    return body


def _choose(body: str, given: Mapping[str, str]) -> str:
    """Keep the optional parts whose condition holds; a kept or dropped part on lines of its own leaves no blank
    line."""

    def part(found: re.Match[str]) -> str:
        kept = bool(given.get(found.group(2), "").strip()) == (found.group(1) == "#")
        return _choose(found.group(3), given) if kept else ""

    if not _PART.search(body):
        return body
    return re.sub(r"\n{3,}", "\n\n", _PART.sub(part, body))


def _roles(text: str) -> Sequence[tuple[str, str]]:
    marks = list(_ROLE.finditer(text))
    if not marks:
        return [("user", text.strip())]
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [(mark.group(1), text[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)]

"""From a free answer to one label of a closed list, in the published ways and in a strict one.

| mode | rule | used by |
|---|---|---|
| `strict` | exactly one label is named as a whole word and not negated; none or several is no answer | our default |
| `first` | the first label named as a whole word | HumanOmni-type evaluation |
| `exact` | the whole answer is the label, letter by letter | PRC-Emo |
| `contains` | the TRUE label occurs somewhere in the answer (rewards naming all) | Emotion-Qwen on DFEW |
| `last` | the alphabetically last label found as a substring, else the last of all | Emotion-Qwen on MER2024 |

The published modes are bug for bug; `strict` and `first` accept the synonyms of the label space and never make up an
answer: what does not match is counted under its own status.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from affectus.errors import ConfigError
from affectus.labels import normalise, space
from affectus.lm.extraction import negated_before

Mode = Literal["strict", "first", "exact", "contains", "last"]
Status = Literal["matched", "empty", "none", "ambiguous", "negated"]


@dataclass(frozen=True)
class Match:
    """The label of an answer (None when there is none), why, and all labels named in order."""

    label: str | None
    status: Status
    named: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelMatcher:
    """Matches answers to `labels`; `synonyms` maps further spellings (any case) to labels."""

    labels: tuple[str, ...]
    synonyms: Mapping[str, str] = field(default_factory=dict)
    mode: Mode = "strict"

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ConfigError(f"label matcher {self.mode!r}", "no such mode", f"use {', '.join(get_args(Mode))}")
        if strange := [to for to in self.synonyms.values() if to not in self.labels]:
            raise ConfigError("label matcher", f"synonym of an unknown label: {strange[0]}")
        spelled = {normalise(s): to for s, to in self.synonyms.items()} | {normalise(s): s for s in self.labels}
        ordered = sorted((s for s in spelled if s), key=len, reverse=True)
        pattern = "|".join(re.escape(s).replace(r"\ ", r"[\s_/\\|+&,-]+") for s in ordered)
        object.__setattr__(self, "_spelled", spelled)
        object.__setattr__(self, "_pattern", re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE))

    @classmethod
    def of_space(cls, name: str, mode: Mode = "strict") -> LabelMatcher:
        """Matcher of a label space with all its known spellings."""
        known = space(name)
        return cls(known.labels, dict(known.synonyms), mode)

    def match(self, answer: str, truth: str | None = None) -> Match:
        """The label of one answer. `contains` needs the true label, as published; the other modes must not see it."""
        text = answer if isinstance(answer, str) else ""
        if self.mode == "contains":
            if truth is None:
                raise ConfigError("label matcher", "the mode contains needs the true label")
            return Match(truth, "matched", (truth,)) if truth.lower() in text.lower() else Match(None, "none")
        if self.mode == "last":
            _, label = max((name.lower() in text.lower(), name) for name in self.labels)
            return Match(label, "matched", tuple(name for name in self.labels if name.lower() in text.lower()))
        if not text.strip():
            return Match(None, "empty")
        if self.mode == "exact":
            return Match(text, "matched", (text,)) if text in self.labels else Match(None, "none")
        return self._found(text)

    def _found(self, text: str) -> Match:
        hits = [(m.start(), self._label(m.group())) for m in self._pattern.finditer(text)]  # type: ignore[attr-defined]
        if not hits:
            return Match(None, "none")
        kept = [label for place, label in hits if not negated_before(text, place)]
        named = tuple(dict.fromkeys(kept))
        if not named:
            return Match(None, "negated", tuple(dict.fromkeys(label for _, label in hits)))
        if self.mode == "first" or len(named) == 1:
            return Match(named[0], "matched", named)
        return Match(None, "ambiguous", named)

    def _label(self, spelling: str) -> str:
        return self._spelled[normalise(spelling)]  # type: ignore[attr-defined]

    def match_many(
        self, answers: Sequence[str], truths: Iterable[str] | None = None
    ) -> tuple[list[str | None], dict[str, int]]:
        """Labels of many answers (None where there is none) and how many had which status."""
        true = [None] * len(answers) if truths is None else list(truths)
        found = [self.match(answer, one) for answer, one in zip(answers, true, strict=True)]
        return [match.label for match in found], dict(Counter(match.status for match in found))

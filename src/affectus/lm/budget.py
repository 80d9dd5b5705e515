"""How many tokens a prompt may have: what does not fit is shrunk, and the shrinking is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from affectus.errors import ConfigError

Lengths = Mapping[str, int]


@dataclass(frozen=True)
class Fitted:
    """Lengths (frames, clips) per source that fit, and what was done, one sentence per source."""

    lengths: dict[str, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenBudget:
    """`context` tokens in all, of which `answer` are kept for what is generated; a source keeps at least `least`
    items."""

    context: int
    answer: int = 256
    least: int = 1

    def fit(self, text: int, lengths: Lengths, cost: Callable[[Lengths], int]) -> Fitted:
        """The longest sources that fit beside `text` tokens.

        `cost` gives the media tokens of sources of given lengths and must not grow when a length shrinks. All sources
        shrink in proportion. ConfigError when the text alone, or the text with the shortest sources, is too long.
        """
        room = self.context - self.answer - text
        if cost(lengths) <= room:
            return Fitted(dict(lengths))
        longest = max(lengths.values(), default=0)

        def shrunk(step: int) -> dict[str, int]:
            return {name: max(min(self.least, n), n * step // max(1, longest)) for name, n in lengths.items()}

        if cost(shrunk(0)) > room:
            raise ConfigError(
                "prompt",
                f"has {text} text tokens: no room for media in {self.context} with {self.answer} to answer",
                "shorten the text, or use a model with a longer context",
            )
        low, high = 0, longest
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if cost(shrunk(middle)) <= room else (low, middle)
        kept = shrunk(low)
        notes = tuple(
            f"{name}: {n} items cut to {kept[name]} to fit {self.context} tokens"
            for name, n in lengths.items()
            if kept[name] < n
        )
        return Fitted(kept, notes)

"""Published systems, one file each: `load("hicmae", weights=folder)`, `build("vtff", "tiny")`, `names()`, `cards()`."""

from affectus.systems.registry import build, card, cards, load, names, stages, system_class

__all__ = ["build", "card", "cards", "load", "names", "stages", "system_class"]

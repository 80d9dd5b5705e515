"""Label spaces and maps between them, emotion wheels, dimensional scales, lexicons, action units.

Everything is a data file; labels are found and mapped by name, never by number.
"""

from __future__ import annotations

from affectus.labels.maps import LabelMap, map_between
from affectus.labels.spaces import Concept, LabelSpace, Variant, concepts, lookup, space, spaces
from affectus.labels.text import normalise

__all__ = [
    "Concept",
    "LabelMap",
    "LabelSpace",
    "Variant",
    "concepts",
    "lookup",
    "map_between",
    "normalise",
    "space",
    "spaces",
]

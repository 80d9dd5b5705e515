"""Label spaces and maps between them, emotion wheels, dimensional scales, lexicons, action units.

Everything is a data file; labels are found and mapped by name, never by number.
"""

from __future__ import annotations

from affectus.labels.maps import LabelMap, map_between
from affectus.labels.spaces import Concept, LabelSpace, Variant, concepts, lookup, space, spaces
from affectus.labels.text import normalise
from affectus.labels.trees import Place, circle_angles, circle_similarity, parrott, parrott_place

__all__ = [
    "Concept",
    "LabelMap",
    "LabelSpace",
    "Place",
    "Variant",
    "circle_angles",
    "circle_similarity",
    "concepts",
    "lookup",
    "map_between",
    "normalise",
    "parrott",
    "parrott_place",
    "space",
    "spaces",
]

"""Label spaces and maps between them, emotion wheels, dimensional scales, lexicons, action units.

Everything is a data file; labels are found and mapped by name, never by number. The modules `wheels` (open-vocabulary
tables), `lexicon` (word norms), `lemmas` and `restricted` (npz without running code) are used as modules.
"""

from __future__ import annotations

from affectus.labels import lemmas, lexicon, restricted, wheels
from affectus.labels.facs import (
    ActionUnit,
    action_unit,
    action_unit_set,
    action_unit_sets,
    action_units,
    feafa,
    prototype,
)
from affectus.labels.label_space import Concept, LabelSpace, Variant, concepts, lookup, space, spaces
from affectus.labels.maps import LabelMap, map_between
from affectus.labels.rating_scale import Scale, convert, scale, scales
from affectus.labels.text import normalise
from affectus.labels.trees import Place, circle_angles, circle_similarity, parrott, parrott_place

__all__ = [
    "ActionUnit",
    "Concept",
    "LabelMap",
    "LabelSpace",
    "Place",
    "Scale",
    "Variant",
    "action_unit",
    "action_unit_set",
    "action_unit_sets",
    "action_units",
    "circle_angles",
    "circle_similarity",
    "concepts",
    "convert",
    "feafa",
    "lemmas",
    "lexicon",
    "lookup",
    "map_between",
    "normalise",
    "parrott",
    "parrott_place",
    "prototype",
    "restricted",
    "scale",
    "scales",
    "space",
    "spaces",
    "wheels",
]

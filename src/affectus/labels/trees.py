"""Parrott's tree of emotions and the emotion circle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from affectus.errors import LabelError
from affectus.labels.label_space import LabelSpace, concept_of_word, read_table, space
from affectus.labels.text import normalise


@dataclass(frozen=True)
class Place:
    """Where a word hangs in the tree: `tertiary` is empty for a secondary emotion, both are for a primary one."""

    primary: str
    secondary: str = ""
    tertiary: str = ""


@lru_cache(maxsize=1)
def parrott() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Parrott's tree: primary → secondary → tertiary emotions (Parrott 2001)."""
    record = read_table("parrott.toml")
    return MappingProxyType(
        {
            primary: MappingProxyType({secondary: tuple(leaves) for secondary, leaves in branch.items()})
            for primary, branch in record.items()
        }
    )


@lru_cache(maxsize=1)
def _places() -> Mapping[str, Place]:
    """Word → place; a word on several levels (surprise, sadness) keeps its highest one."""
    found: dict[str, Place] = {}
    for primary, branch in parrott().items():
        for secondary, leaves in branch.items():
            found.update({leaf: Place(primary, secondary, leaf) for leaf in leaves})
    for primary, branch in parrott().items():
        found.update({secondary: Place(primary, secondary) for secondary in branch})
    found.update({primary: Place(primary) for primary in parrott()})
    return MappingProxyType(found)


def parrott_place(word: str) -> Place:
    """Place of an emotion word in Parrott's tree; adjectives are found through the concept they belong to.

    LabelError when the word is not in the tree.
    """
    key = normalise(word)
    if key in _places():
        return _places()[key]
    concept = concept_of_word().get(key, "")
    for candidate in (concept, *(w for w, name in concept_of_word().items() if name == concept and concept)):
        if candidate in _places():
            return _places()[candidate]
    raise LabelError(word, "is not in Parrott's tree", "labels.parrott() lists its words")


def circle_angles(name: str | LabelSpace) -> np.ndarray:
    """Angle in degrees of each label on the emotion circle (n_labels,); NaN for neutral (PRC-Emo).

    LabelError for a space with labels that the circle does not place.
    """
    known = name if isinstance(name, LabelSpace) else space(name)
    angles = read_table("circle.toml")["angles"] | {"neutral": float("nan")}
    concepts = {label: known.concepts[label][0] for label in known.labels}
    if missing := [label for label, concept in concepts.items() if concept not in angles]:
        raise LabelError(known.name, f"the emotion circle does not place {', '.join(missing)}", "map to ekman7 first")
    return np.array([float(angles[concept]) for concept in concepts.values()])


def circle_similarity(name: str | LabelSpace) -> np.ndarray:
    """Similarity (n_labels, n_labels) of emotions on the circle (PRC-Emo, weighted emotion shift).

    1/n where one of the two is neutral (or both), 0 where the valences have opposite signs, otherwise the cosine of the
    angle between them, at least 0. Valence is the horizontal coordinate.
    """
    degrees = circle_angles(name)
    angles = np.deg2rad(degrees)
    valence = np.sign(np.cos(angles))
    similarity = np.maximum(np.cos(angles[:, None] - angles[None, :]), 0.0)
    similarity[valence[:, None] * valence[None, :] < 0] = 0.0
    neutral = np.isnan(degrees)
    similarity[neutral, :] = similarity[:, neutral] = 1.0 / len(degrees)
    return similarity

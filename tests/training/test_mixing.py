"""Several sources in one run."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.errors import ConfigError
from affectus.nn.phase import Phase
from affectus.training.mixing import SourceBatches, Sources, inverse_frequency


def phase(batch: int = 4, **options: dict[str, float]) -> Phase:
    return Phase("joint", epochs=1, lr=1e-3, batch_size=batch, options=options)


def sources(**sizes: int) -> Sources:
    return Sources({name: [(name, i) for i in range(size)] for name, size in sizes.items()})  # type: ignore[misc]


@settings(max_examples=40, deadline=None)
@given(
    clips=st.integers(1, 40),
    stills=st.integers(1, 40),
    share=st.sampled_from([0.25, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_every_step_is_of_one_source_and_counts_follow_the_shares(
    clips: int, stills: int, share: float, seed: int
) -> None:
    mixed = sources(clip=clips, image=stills)
    batches = SourceBatches(mixed, phase(4, shares={"image": share}, batch_sizes={"image": 8}), seed)
    seen = [[mixed[i] for i in batch] for batch in batches]
    expected = clips // min(4, clips) + int(share * (stills // min(8, stills)))
    assert len(seen) == len(batches) == expected
    assert all(len({name for name, _ in batch}) == 1 for batch in seen)
    assert [batch[0][0] for batch in seen] == batches.plan()
    items = [item for batch in seen for item in batch]
    assert len(set(items)) == len(items), "an item came twice"


def test_the_same_seed_gives_the_same_steps_and_another_one_another_order() -> None:
    mixed = sources(clip=80, image=80)
    first, again, other = (list(SourceBatches(mixed, phase(), seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_a_balanced_source_draws_its_classes_equally_often() -> None:
    classes = torch.tensor([0] * 90 + [1] * 10)
    mixed = Sources({"image": list(range(100))}, {"image": classes})  # type: ignore[dict-item]
    counts: Counter[int] = Counter()
    for seed in range(40):
        counts.update(int(classes[mixed[i]]) for batch in SourceBatches(mixed, phase(10), seed) for i in batch)
    share = counts[1] / counts.total()
    assert share == pytest.approx(0.5, abs=5 * (0.25 / counts.total()) ** 0.5)


def test_inverse_frequency_gives_each_class_the_same_mass() -> None:
    classes = torch.tensor([0, 0, 0, 2])
    weights = inverse_frequency(classes)
    assert float(weights[classes == 0].sum()) == pytest.approx(float(weights[classes == 2].sum()))


def test_unknown_and_empty_sources_are_named() -> None:
    with pytest.raises(ConfigError, match="video"):
        SourceBatches(sources(clip=4), phase(shares={"video": 0.5}), 0)
    with pytest.raises(ConfigError, match="image: holds nothing"):
        sources(clip=4, image=0)
    with pytest.raises(ConfigError, match="no batch"):
        SourceBatches(sources(clip=4), phase(shares={"clip": 0.5}), 0)

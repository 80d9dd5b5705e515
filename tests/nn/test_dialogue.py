"""Conversations as batches: pieces, items, attention among turns, and faces pooled over an utterance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus.errors import ConfigError
from affectus.nn.dialogue import DialogueEncoder, DialogueItems, TurnAttention, pieces, turns_present, turns_seen
from affectus.nn.face_pooling import area_weighted, utterance_picture


@given(st.integers(1, 300), st.integers(2, 40), st.integers(0, 39))
@settings(max_examples=100, deadline=None)
def test_pieces_count_every_turn_once(count: int, longest: int, context: int) -> None:
    if context >= longest:
        with pytest.raises(ConfigError, match="repeat"):
            pieces(count, longest, context)
        return
    found = pieces(count, longest, context)
    assert [t for _, first, end in found for t in range(first, end)] == list(range(count))
    assert all(0 < end - start <= longest and first - start in (0, context) for start, first, end in found)


def test_items_pad_to_the_longest_and_number_speakers() -> None:
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    rows = {"a": np.array([3, 1]), "b": np.array([0, 2, 4])}
    items = DialogueItems({"text": values}, rows, np.array([0, 1, 2, -1, 1]), ["x", "y", "x", "z", "w"])
    assert (len(items), items.turns, items.kept.tolist()) == (2, 3, [1, 0, 2, 4])
    first = items[0]
    np.testing.assert_array_equal(first["text"], [[6, 7], [2, 3], [np.nan, np.nan]])
    assert (first["turn_labels"].tolist(), first["speaker"].tolist(), first["id"]) == ([-1, 1, -1], [0, 1, -1], "a")
    assert items[1]["speaker"].tolist() == [0, 0, 1]


def test_items_of_several_annotators_and_in_pieces() -> None:
    labels = np.array([[0, 1], [-1, -1], [2, 2], [1, -1], [0, 0]])
    items = DialogueItems({"text": np.zeros((5, 1), np.int64)}, {"a": np.arange(5)}, labels, [None] * 5, 3, 1,
                          {"text": 7})  # fmt: skip
    assert len(items) == 2
    assert items[1]["id"] == "a:2-4"
    assert items[1]["turn_labels"].tolist() == [[-1, -1], [1, -1], [0, 0]]
    assert items.kept.tolist() == [0, 2, 3, 4]
    short = DialogueItems({"text": np.zeros((5, 1), np.int64)}, {"a": np.arange(2), "b": np.arange(2, 5)}, labels,
                          [""] * 5, fill={"text": 7})  # fmt: skip
    assert short[0]["text"].ravel().tolist() == [0, 0, 7]


def test_which_turns_are_there_and_seen() -> None:
    ids = torch.tensor([[[5, 0], [0, 0]], [[1, 2], [3, 0]]])
    assert turns_present(ids, 0).tolist() == [[True, False], [True, True]]
    vectors = torch.tensor([[[1.0], [torch.nan]]])
    assert turns_present(vectors, 0).tolist() == [[True, False]]
    seen = turns_seen(torch.tensor([[True, True, False]]), causal=True)[0, 0]
    assert seen.tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_attention_equals_its_formula() -> None:
    torch.manual_seed(0)
    layer = TurnAttention(8, 2, reach=1).double()
    torch.nn.init.normal_(layer.distance)  # type: ignore[arg-type]
    q, k, v = (torch.randn(1, 4, 8, dtype=torch.float64) for _ in range(3))
    seen = turns_seen(torch.tensor([[True, True, True, False]]), causal=False)
    found = layer(q, k, v, seen)
    heads = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        scores = layer.query(q)[0, :, part] @ layer.key(k)[0, :, part].T / 2
        for i in range(4):
            for j in range(4):
                scores[i, j] += layer.distance[h, min(1, max(-1, j - i)) + 1]  # type: ignore[index]
        heads.append(scores.masked_fill(~seen[0, 0], -torch.inf).softmax(-1) @ layer.value(v)[0, :, part])
    torch.testing.assert_close(found[0], layer.out(torch.cat(heads, -1)))


def test_without_reach_the_order_of_turns_is_unknown() -> None:
    torch.manual_seed(0)
    x, seen = torch.randn(1, 5, 8), turns_seen(torch.ones(1, 5, dtype=torch.bool), False)
    order = [4, 2, 0, 1, 3]
    for reach in (0, 3):
        net = DialogueEncoder(8, 2, 2, 16, 0.0, reach).eval()
        for name, parameter in net.named_parameters():
            if name.endswith("distance"):
                torch.nn.init.normal_(parameter)
        with torch.no_grad():
            same = torch.allclose(net(x[:, order], seen), net(x, seen)[:, order], atol=1e-5)
        assert same == (reach == 0)


def test_a_talk_without_any_turn_gives_numbers() -> None:
    net = DialogueEncoder(8, 1, 2, 16, 0.0, 2).eval()
    seen = turns_seen(torch.zeros(1, 3, dtype=torch.bool), False)
    assert torch.isfinite(net(torch.zeros(1, 3, 8), seen)).all()


@pytest.mark.sheet("Weighted face: areas 3 and 1 give .75/.25; order does not matter; max over frames as numpy")
def test_faces_count_by_area() -> None:
    torch.manual_seed(0)
    faces, areas = torch.randn(2, 15, 2, 6), torch.tensor([3.0, 1.0]).expand(2, 15, 2).clone()
    found = area_weighted(faces, areas)
    torch.testing.assert_close(found, 0.75 * faces[..., 0, :] + 0.25 * faces[..., 1, :])
    torch.testing.assert_close(area_weighted(faces.flip(2), areas.flip(2)), found)
    assert not area_weighted(faces, torch.zeros(2, 15, 2)).any()
    scene = torch.randn(2, 15, 6)
    whole = utterance_picture(scene, faces, areas).numpy()
    np.testing.assert_allclose(whole, np.concatenate([scene.numpy().max(1), found.numpy().max(1)], 1))

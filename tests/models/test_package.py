"""Model folders: found by name, checked against their card, refused with one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from affectus import models
from affectus.errors import ConfigError, ModelError
from affectus.models.package import file_hash, on_device, open_model, session, threads

Package = Callable[[str], Path]


def edit(folder: Path, **changes: Any) -> None:
    """Change fields of a card; None removes one."""
    path = folder / "card.json"
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))


@pytest.mark.parametrize("name", models.NAMES)
def test_all_models_load_and_show_their_card(load: Callable[[str], Any], name: str) -> None:
    card = load(name).card
    assert card.modality == name
    assert card.labels
    assert card.licence
    assert set(card.files) >= {"model.onnx"}


def test_a_folder_in_the_environment_replaces_the_packaged_one(
    fake_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFFECTUS_MODELS", str(fake_models))
    assert [card.modality for card in models.cards()] == list(models.NAMES)
    assert models.card("voice").title == "Fake voice model"
    assert models.load("face").card.title == "Fake face model"
    assert models.model_folder("words") == fake_models / "words"


def test_an_unknown_name_lists_the_known_ones(fake_models: Path) -> None:
    with pytest.raises(ModelError, match=r"smell: is not a shipped model \(choose one of face, voice, words, scene\)"):
        models.load("smell", fake_models / "face")
    with pytest.raises(ModelError, match="is not a shipped model"):
        models.load("../face")


@pytest.mark.parametrize("part", ["card.json", "model.onnx"])
def test_a_missing_file_is_named(package: Package, part: str) -> None:
    folder = package("face")
    (folder / part).unlink()
    with pytest.raises(ModelError, match=f"{part}: is missing"):
        models.load("face", folder)


def test_a_missing_tokenizer_is_named(package: Package) -> None:
    folder = package("words")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json: does not match its card \(found missing"):
        models.load("words", folder)


@pytest.mark.parametrize(("name", "part"), [("face", "model.onnx"), ("words", "tokenizer.json")])
def test_one_changed_byte_is_refused(package: Package, name: str, part: str) -> None:
    folder = package(name)
    content = bytearray((folder / part).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / part).write_bytes(content)
    with pytest.raises(ModelError, match=f"{part}: does not match its card".replace(".", r"\.")):
        models.load(name, folder)


def test_weights_without_a_hash_are_refused(package: Package) -> None:
    folder = package("face")
    edit(folder, files={})
    with pytest.raises(ModelError, match=r"card\.json: holds no hash of model\.onnx"):
        models.load("face", folder)


def test_cards_that_are_none_are_refused(package: Package) -> None:
    folder = package("face")
    edit(folder, emotion_of_the_author="calm")
    with pytest.raises(ModelError, match=r"card\.json: is no model card: .*emotion_of_the_author"):
        models.load("face", folder)
    edit(folder, emotion_of_the_author=None, space=None)
    with pytest.raises(ModelError, match=r"card\.json: is no model card: .*space"):
        models.load("face", folder)
    (folder / "card.json").write_text("{")
    with pytest.raises(ModelError, match=r"card\.json: is no model card"):
        models.load("face", folder)


def test_a_file_that_is_no_network_is_refused(package: Package) -> None:
    folder = package("face")
    (folder / "model.onnx").write_bytes(b"not a network")
    edit(folder, files={"model.onnx": file_hash(folder / "model.onnx")})
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be opened") as caught:
        models.load("face", folder)
    assert "\n" not in str(caught.value)


def test_sessions_are_shared_until_the_file_changes(package: Package, fake_models: Path) -> None:
    folder = package("face")
    _, first = open_model(folder)
    assert open_model(folder)[1] is first
    other = (fake_models / "scene" / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(other)
    edit(folder, files={"model.onnx": file_hash(folder / "model.onnx")})
    _, second = open_model(folder)
    assert [i.name for i in first.get_inputs()] == ["images"]
    assert [i.name for i in second.get_inputs()] == ["pixels", "large", "colours", "faces"]


def test_devices_are_chosen_inside_the_block_only(fake_models: Path) -> None:
    import onnxruntime

    path = fake_models / "face" / "model.onnx"
    with on_device("cpu"):
        inside = session(path)
        assert inside.get_providers() == ["CPUExecutionProvider"]
    assert session(path) is not inside  # "auto" is another choice, even where it comes to the same
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with on_device("cuda"), pytest.raises(ModelError, match="device cuda: is not usable"):
            session(path)


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFFECTUS_THREADS", "3")
    assert threads() == 3
    monkeypatch.setenv("AFFECTUS_THREADS", "0")
    assert threads() == 1
    monkeypatch.setenv("AFFECTUS_THREADS", "many")
    with pytest.raises(ConfigError, match="AFFECTUS_THREADS: is 'many'"):
        threads()
    monkeypatch.delenv("AFFECTUS_THREADS")
    assert threads() >= 1


def test_hashes_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_hash(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_loading_needs_no_packaged_weights(fake_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AFFECTUS_MODELS", str(tmp_path / "nowhere"))
    model = models.load("face", fake_models / "face")
    assert model.predict([np.zeros((48, 48), np.uint8)])[0].space == "ferplus8"
    with pytest.raises(ModelError, match=r"card\.json: is missing \(reinstall affectus"):
        models.load("face")

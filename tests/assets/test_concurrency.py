"""Several processes, killed processes, locks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from affectus import assets
from affectus.assets import cache
from affectus.errors import AssetError

DATA = bytes(range(256)) * 40


CHILD = """
import sys, time
from pathlib import Path
from affectus import assets
from affectus.assets import sources, table
entry = table.parse_table(Path(sys.argv[1]).read_text())
table.asset_table = lambda: entry
whole = sources.fetch_archive
def fetch(source, folder):
    with Path(sys.argv[2]).open("a") as log:
        log.write("fetch\\n")
    if sys.argv[3] == "hang":
        (folder / "half.whl").write_bytes(b"half")
        Path(sys.argv[2] + ".started").touch()
        time.sleep(60)
    return whole(source, folder)
sources.fetch_archive = fetch
print(assets.resolve("net"))
"""


@pytest.fixture
def child(index, tmp_path: Path):
    """Starts another process that resolves the asset `net` of the local index."""
    asset = index.publish("net", {"net.onnx": DATA})
    source, file = asset.sources[0], asset.files[0]
    toml = f"""
    [net]
    purpose = "p"
    licence = "MIT"
    needed = "optional"
    files = [{{ path = "{file.path}", bytes = {file.bytes}, sha256 = "{file.sha256}" }}]
    [[net.sources]]
    kind = "index"
    package = "{source.package}"
    version = "1.0"
    archive = "{source.archive}"
    bytes = {source.bytes}
    sha256 = "{source.sha256}"
    inside = {{ "{file.path}" = "{source.inside[file.path]}" }}
    """
    (tmp_path / "table.toml").write_text(textwrap.dedent(toml))
    (tmp_path / "child.py").write_text(CHILD)

    def start(mode: str) -> subprocess.Popen[str]:
        command = [sys.executable, "child.py", "table.toml", "log", mode]
        package = str(Path(assets.__file__).parents[2])
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": package},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_two_processes_fetch_once(child, tmp_path: Path, cache_root: Path) -> None:
    running = [child("plain"), child("plain")]
    outputs = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert {out.strip() for out, _ in outputs} == {str(cache_root / "assets/net/net.onnx")}
    assert (tmp_path / "log").read_text() == "fetch\n"


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_a_killed_fetch_leaves_no_half_file(child, tmp_path: Path, kept) -> None:
    process = child("hang")
    deadline = time.monotonic() + 60
    while not (tmp_path / "log.started").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not assets.available("net")
    assert [f for f in kept() if f.startswith("assets/")] == []
    assert assets.resolve("net").read_bytes() == DATA
    assert kept() == ["assets/net/net.onnx"]


def test_a_held_lock_times_out_by_name(cache_root: Path) -> None:
    reason = "net: another process has been fetching it"
    with cache.locked("net"), pytest.raises(AssetError, match=reason), cache.locked("net", seconds=0.2):
        raise AssertionError("two holders of one lock")
    with cache.locked("net", seconds=0.2):
        assert (cache_root / "locks/net.lock").exists()

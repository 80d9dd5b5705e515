"""`affectus doctor`: what works on this machine, what does not, and the command that mends it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from affectus import __version__, assets, models
from affectus.app.terminal import FAILED, print_json, print_table
from affectus.errors import AffectusError


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `state` is ok, missing (optional) or broken (the main job suffers)."""

    name: str
    state: str
    detail: str
    remedy: str = ""


def run(as_json: bool) -> int:
    """Print all checks; the exit code is 1 when something the main job needs is broken."""
    checks = list(examine())
    if as_json:
        print_json({"version": __version__, "checks": [asdict(check) for check in checks]})
    else:
        signs = {"ok": "✓", "missing": "–", "broken": "✗"}
        print_table(("", "what", "found", "to mend it"), [(signs[c.state], c.name, c.detail, c.remedy) for c in checks])
    return FAILED if any(check.state == "broken" for check in checks) else 0


def examine() -> Iterator[Check]:
    """All checks, cheapest first."""
    yield _python()
    yield _runtime()
    for name in models.NAMES:
        yield _model(name)
    for status in assets.list_assets():
        if status.needed in ("analysis", "optional"):
            yield _asset(status)
    yield _speech()
    yield _package("facial movements (landmarks)", "ai_edge_litert", "aus")
    yield _package("pictures of phones (HEIC)", "pillow_heif", "heic")
    yield _package("training", "torch", "train")
    yield _package("tables as pandas", "pandas", "data")
    yield _folder("cache folder", assets.cache_folder(), "set AFFECTUS_CACHE to a folder you can write")
    yield _folder("folder for temporary files", Path(tempfile.gettempdir()), "set TMPDIR to a folder with space")


def _python() -> Check:
    detail = f"affectus {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return Check("installation", "ok", detail)


def _runtime() -> Check:
    try:
        import av
        import onnxruntime
    except ImportError as error:
        return Check("runtime", "broken", f"{error.name} cannot be imported", "pip install --force-reinstall affectus")
    from affectus.models.package import threads

    devices = [p.removesuffix("ExecutionProvider") for p in onnxruntime.get_available_providers()]
    detail = (
        f"ONNX Runtime {onnxruntime.__version__} on {', '.join(devices)}; PyAV {av.__version__}; {threads()} threads"
    )
    return Check("runtime", "ok", detail)


def _model(name: str) -> Check:
    try:
        model = models.load(name)
    except AffectusError as error:
        return Check(f"model {name}", "broken", error.reason, error.remedy)
    return Check(f"model {name}", "ok", f"{model.card.title} (version {model.card.version})")


def _asset(status: assets.AssetStatus) -> Check:
    name = f"asset {status.name}"
    if status.present:
        return Check(name, "ok", f"{status.purpose}: {status.path}")
    state = "broken" if status.needed == "analysis" and assets.offline() else "missing"
    detail = f"{status.purpose}: not here, fetched when first needed ({status.megabytes:.1f} MB)"
    if status.needed == "optional":
        detail = f"{status.purpose}: not here ({status.megabytes:.1f} MB)"
    return Check(name, state, detail, f"affectus assets get {status.name}")


def _speech() -> Check:
    from affectus.media import transcription

    engine = transcription.engine()
    if engine:
        return Check("speech recognition", "ok", f"{engine} (English)")
    return Check(
        "speech recognition", "missing", "words need a transcript until it is fetched", "affectus assets get --all"
    )


def _package(what: str, module: str, extra: str) -> Check:
    if importlib.util.find_spec(module) is not None:
        return Check(what, "ok", f"{module} is installed")
    return Check(what, "missing", f"optional, needs {module}", f"pip install 'affectus[{extra}]'")


def _folder(what: str, folder: Path, remedy: str) -> Check:
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(place, os.W_OK):
        return Check(what, "broken", f"{folder} may not be written", remedy)
    free = shutil.disk_usage(place).free
    state = "ok" if free > 200e6 else "broken"
    return Check(what, state, f"{folder}, {free / 1e9:.1f} GB free", "" if state == "ok" else remedy)

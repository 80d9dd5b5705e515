"""What every command shares: where it writes, how it reports errors, and its exit codes.

Results go to standard output, everything else to standard error. 0: all is well; 1: something failed; 2: the command
was not understood or there is no input; 130: interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from affectus.errors import AffectusError, ConfigError

if TYPE_CHECKING:
    from rich.console import Console

FAILED, USAGE, INTERRUPTED = 1, 2, 130


def debugging() -> bool:
    """Whether AFFECTUS_DEBUG asks for tracebacks."""
    return os.environ.get("AFFECTUS_DEBUG", "").strip().lower() not in ("", "0", "false", "no", "off")


def say(text: str) -> None:
    """One line to standard error."""
    print(one_line(text), file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """Text without line breaks or control characters, which file names may hold."""
    return "".join(c if c.isprintable() else " " for c in text)


def error_line(error: AffectusError) -> str:
    """`error: subject: reason (remedy)`."""
    return f"error: {error}"


@contextmanager
def guarded() -> Iterator[None]:
    """Turn errors into one line and an exit code; AFFECTUS_DEBUG=1 lets the traceback through."""
    try:
        yield
    except AffectusError as error:
        if debugging():
            raise
        say(error_line(error))
        raise SystemExit(USAGE if isinstance(error, ConfigError) else FAILED) from None
    except BrokenPipeError:
        # The reader of a pipe has seen enough; without this Python complains while closing standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(FAILED) from None
    except ImportError as error:
        if debugging():
            raise
        say(f"error: this command needs {error.name or error}, which is not installed ({_extra_of(str(error.name))})")
        raise SystemExit(FAILED) from None


def _extra_of(module: str) -> str:
    packages = (
        "torch",
        "transformers",
        "accelerate",
        "peft",
        "trl",
        "safetensors",
        "onnx",
        "onnxscript",
        "sklearn",
        "scipy",
    )
    if module.split(".")[0] in packages:
        return "pip install 'affectus[train]'"
    return "pip install 'affectus[data]'" if module.split(".")[0] in ("pandas", "polars", "openpyxl") else "install it"


def console(error: bool = False) -> Console:
    """A rich console on standard output (or error); as wide as wanted where it is no terminal."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    return Console(stderr=error, highlight=False, width=None if stream.isatty() else 160)


def print_json(record: Any) -> None:
    """One JSON document to standard output."""
    json.dump(record, sys.stdout, indent=1, ensure_ascii=False, default=str)
    sys.stdout.write("\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """A plain table to standard output; cells are text, never markup."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(one_line(str(cell))) for cell in row))
    console().print(table)

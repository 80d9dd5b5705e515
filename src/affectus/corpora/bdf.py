"""BioSemi recordings (BDF): EEG and other body signals, 24 bits per sample.

The format is that of EDF with three-byte samples: a header of 256 bytes, 256 bytes per signal, then data records that
hold a stretch of every signal in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from affectus.errors import CorpusError

_FIELDS = (("label", 16), ("transducer", 80), ("unit", 8), ("physical_min", 8), ("physical_max", 8),
           ("digital_min", 8), ("digital_max", 8), ("filter", 80), ("samples", 8), ("reserved", 32))  # fmt: skip
_STATUS = "Status"


@dataclass(frozen=True)
class Recording:
    """Signals `(channels, samples)` float32 in their physical unit (µV for EEG), all at `rate` Hz.

    `status` holds the trigger codes of the status channel (its lower 16 bits), empty where there is none.
    """

    names: tuple[str, ...]
    rate: float
    signals: np.ndarray
    status: np.ndarray


def _header(data: bytes, name: str) -> tuple[int, float, int, dict[str, list[str]]]:
    if len(data) < 256 or data[:8] != b"\xffBIOSEMI":
        raise CorpusError(name, "no BDF recording", "fetch the file again")
    try:
        records, seconds, count = int(data[236:244]), float(data[244:252]), int(data[252:256])
        fields: dict[str, list[str]] = {}
        at = 256
        for key, width in _FIELDS:
            cells = [data[at + k * width : at + (k + 1) * width] for k in range(count)]
            fields[key] = [c.decode("latin-1").strip() for c in cells]
            at += width * count
    except ValueError:
        raise CorpusError(name, "its BDF header is damaged", "fetch the file again") from None
    return records, seconds, at, fields


def read_bdf(data: bytes, name: str, channels: Sequence[str] | None = None) -> Recording:
    """Signals of a BDF file; `channels` picks some by name, in that order (all but the status channel otherwise).

    Raises `CorpusError` for a cut-off file, an unknown channel or channels of different rates.
    """
    records, seconds, start, fields = _header(data, name)
    labels = fields["label"]
    wanted = list(channels) if channels is not None else [n for n in labels if n != _STATUS]
    unknown = [n for n in wanted if n not in labels]
    if unknown:
        raise CorpusError(name, f"no channel {unknown[0]!r}", f"channels are {', '.join(labels)}")
    try:
        counts = [int(n) for n in fields["samples"]]
        scale = [[float(v) for v in fields[k]] for k in ("physical_min", "physical_max", "digital_min", "digital_max")]
    except ValueError:
        raise CorpusError(name, "its BDF header is damaged", "fetch the file again") from None
    width = 3 * sum(counts)
    whole = (len(data) - start) // width if width else 0
    if whole < max(records, 1):
        raise CorpusError(name, f"cut off after {whole} of {records} records", "fetch the file again")
    used = whole if records < 0 else records
    raw = np.frombuffer(data, np.uint8, used * width, start).reshape(used, width // 3, 3)
    at = np.concatenate([[0], np.cumsum(counts)])
    picked = [labels.index(n) for n in wanted]
    if len({counts[k] for k in picked}) != 1:
        raise CorpusError(name, "its channels have different rates", "pick channels of one rate")
    signals = np.empty((len(picked), used * counts[picked[0]]), np.float32)
    for row, k in enumerate(picked):
        low, high, first, last = (values[k] for values in scale)
        values = _integers(raw[:, at[k] : at[k + 1]]).ravel()
        signals[row] = (values - first) * ((high - low) / (last - first)) + low
    status = np.empty(0, np.int32)
    if _STATUS in labels:
        k = labels.index(_STATUS)
        status = _integers(raw[:, at[k] : at[k + 1]]).ravel() & 0xFFFF
    return Recording(tuple(wanted), counts[picked[0]] / seconds, signals, status)


def _integers(raw: np.ndarray) -> np.ndarray:
    """Little-endian 24-bit integers `(..., 3)` uint8 → int32."""
    wide = raw.astype(np.int32)
    return (wide[..., 0] << 8 | wide[..., 1] << 16 | wide[..., 2] << 24) >> 8


def bdf_bytes(names: Sequence[str], signals: np.ndarray, rate: int, reach: float = 1000.0) -> bytes:
    """A BDF file of whole seconds: `signals` `(channels, samples)` in µV within ±`reach`; `Status` holds raw codes."""
    records = signals.shape[1] // rate
    rows = []
    for label, values in zip(names, signals, strict=True):
        scaled = values if label == _STATUS else (values + reach) * (16777215 / (2 * reach)) - 8388608
        rows.append(np.clip(np.round(scaled), -8388608, 8388607).astype("<i4"))
    parts = {
        "label": names, "transducer": ["electrode"] * len(names), "filter": [""] * len(names),
        "unit": ["Boolean" if n == _STATUS else "uV" for n in names],
        "physical_min": ["-8388608" if n == _STATUS else f"{-reach:g}" for n in names],
        "physical_max": ["8388607" if n == _STATUS else f"{reach:g}" for n in names],
        "digital_min": ["-8388608"] * len(names), "digital_max": ["8388607"] * len(names),
        "samples": [str(rate)] * len(names), "reserved": [""] * len(names),
    }  # fmt: skip
    head = b"\xffBIOSEMI" + b" " * 160 + b"01.01.0000.00.00" + str(256 * (len(names) + 1)).ljust(8).encode()
    head += b"24BIT".ljust(44) + str(records).ljust(8).encode() + b"1".ljust(8) + str(len(names)).ljust(4).encode()
    table = "".join(cell.ljust(width) for key, width in _FIELDS for cell in parts[key])
    cut = np.stack(rows)[:, : records * rate].reshape(len(names), records, rate).transpose(1, 0, 2)
    body = np.ascontiguousarray(cut, "<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return head + table.encode("latin-1") + body

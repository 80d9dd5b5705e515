"""WebVTT, ELAN and Praat: written, then read back by small parsers of the formats."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectus import report
from affectus.errors import AffectusError
from affectus.types import Timeline

Tiers = dict[str, list[tuple[int, int, str]]]


def read_eaf(path: Path) -> Tiers:
    """Tier → (start ms, end ms, value); associated annotations take the times of what they refer to."""
    root = ElementTree.parse(path).getroot()
    times = {slot.attrib["TIME_SLOT_ID"]: int(slot.attrib["TIME_VALUE"]) for slot in root.iter("TIME_SLOT")}
    types = {t.attrib["LINGUISTIC_TYPE_ID"] for t in root.iter("LINGUISTIC_TYPE")}
    spans: dict[str, tuple[int, int]] = {}
    tiers: Tiers = {}
    for tier in root.iter("TIER"):
        assert tier.attrib["LINGUISTIC_TYPE_REF"] in types
        assert tier.attrib["TIER_ID"] not in tiers
        assert tier.get("PARENT_REF", tier.attrib["TIER_ID"]) in (tier.attrib["TIER_ID"], *tiers)
        rows = tiers.setdefault(tier.attrib["TIER_ID"], [])
        for note in tier.findall("ANNOTATION/*"):
            if note.tag == "ALIGNABLE_ANNOTATION":
                span = times[note.attrib["TIME_SLOT_REF1"]], times[note.attrib["TIME_SLOT_REF2"]]
            else:
                span = spans[note.attrib["ANNOTATION_REF"]]
            assert note.attrib["ANNOTATION_ID"] not in spans
            spans[note.attrib["ANNOTATION_ID"]] = span
            rows.append((*span, note.findtext("ANNOTATION_VALUE") or ""))
    return tiers


def read_textgrid(path: Path) -> tuple[Tiers, float]:
    """Tier → every interval including the empty ones, and the length in seconds."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n')
    length = float(re.search(r"^xmax = (\S+)$", text, re.M)[1])  # type: ignore[index]
    tiers: Tiers = {}
    for item in re.split(r"^    item \[\d+\]:$", text, flags=re.M)[1:]:
        name = re.search(r'^        name = "(.*)"$', item, re.M)[1]  # type: ignore[index]
        found = re.findall(r'xmin = (\S+)\n\s+xmax = (\S+)\n\s+text = "(.*)"$', item, re.M)
        assert len(found) == int(re.search(r"intervals: size = (\d+)", item)[1])  # type: ignore[index]
        tiers[name.replace('""', '"')] = [
            (round(float(a) * 1000), round(float(b) * 1000), t.replace('""', '"')) for a, b, t in found
        ]
    assert len(tiers) == int(re.search(r"^size = (\d+)$", text, re.M)[1])  # type: ignore[index]
    return tiers, length


def read_vtt(path: Path) -> list[tuple[int, int, str]]:
    """(start ms, end ms, payload) of every cue."""
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    assert blocks[0] == "WEBVTT"
    cues = []
    for block in blocks[1:]:
        if block.startswith("NOTE"):
            continue
        timing, payload = block.strip("\n").split("\n", 1)
        times = re.fullmatch(r"(\d\d):(\d\d):(\d\d)\.(\d{3}) --> (\d\d):(\d\d):(\d\d)\.(\d{3})( line:0)?", timing)
        assert times, timing
        n = [int(v) for v in times.groups()[:8]]
        start, end = (((n[i] * 60 + n[i + 1]) * 60 + n[i + 2]) * 1000 + n[i + 3] for i in (0, 4))
        assert start < end
        assert "-->" not in payload
        cues.append((start, end, payload))
    return cues


def one(text: str, start: float = 1.0, end: float = 2.0, **more: object) -> dict[str, object]:
    return {"file": "a.wav", "start": start, "end": end, "source": "words", "space": "transcript", "text": text, **more}


def test_eaf_holds_turns_decisions_and_probabilities(conversation: Timeline, tmp_path: Path) -> None:
    tiers = read_eaf(report.save(conversation, tmp_path / "a.eaf"))
    assert tiers["Anna · transcript"][0] == (1200, 4900, "I am so glad you could make it today.")
    assert tiers["Anna · transcript"][3][2] == "That is not fine, that is <b>rude</b> & unfair."
    decision, probability = tiers["Ben (face 2) · decision"], tiers["Ben (face 2) · decision · probability"]
    assert [d[:2] for d in decision] == [p[:2] for p in probability]
    assert {d[2] for d in decision} & {"uncertain"}
    assert all(0 <= float(p[2]) <= 1 for p in probability)
    assert "Ben (face 2) · face · ferplus8" in tiers
    assert tiers["explanation"][0][2].startswith("From 0:28")


def test_textgrid_tiles_every_tier(conversation: Timeline, tmp_path: Path) -> None:
    tiers, length = read_textgrid(report.save(conversation, tmp_path / "a.TextGrid"))
    assert length == 60.0
    assert tiers["Ben · transcript"][1] == (5400, 9800, "Thanks, the train was late again, but never mind.")
    for name, rows in tiers.items():
        assert rows[0][0] == 0, name
        assert rows[-1][1] == 60000, name
        assert all(a[1] == b[0] for a, b in itertools.pairwise(rows)), name


def test_both_tier_formats_say_the_same(conversation: Timeline, tmp_path: Path) -> None:
    eaf = read_eaf(report.save(conversation, tmp_path / "a.eaf"))
    grid, _ = read_textgrid(report.save(conversation, tmp_path / "a.TextGrid"))
    assert eaf == {name: [row for row in rows if row[2]] for name, rows in grid.items()}


def test_decisions_follow_the_rows(conversation: Timeline, tmp_path: Path) -> None:
    tiers = read_eaf(report.save(conversation, tmp_path / "a.eaf"))
    rows = list(conversation.filter(space="decision", track=1).to_rows())
    for row in rows:
        middle = (row["start"] + row["end"]) * 500
        (found,) = [t for s, e, t in tiers["Anna (face 1) · decision"] if s <= middle < e]
        assert found == row["label"]


@settings(max_examples=40, deadline=None)
@given(
    spans=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3000)), min_size=1, max_size=12),
    text=st.text(st.characters(exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]), min_size=1, max_size=8),
)
def test_overlapping_turns_all_survive_on_tiers_without_overlap(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[int, int]], text: str
) -> None:
    rows = [one(f"{i}{text}", s / 1000, (s + d) / 1000) for i, (s, d) in enumerate(spans)]
    timeline = Timeline.from_rows([*rows, one("end", 9.0, 9.5)])
    folder = tmp_path_factory.mktemp("t")
    grid, _ = read_textgrid(report.save(timeline, folder / "x.TextGrid"))
    found = {t: (s, e) for rows_ in grid.values() for s, e, t in rows_ if t}
    for i, (start, length) in enumerate(spans):
        clean = f"{i}{text}".replace("\ufffe", "").replace("\uffff", "")
        assert found[clean] == (start, start + max(length, 1))
    for tier in read_eaf(report.save(timeline, folder / "x.eaf")).values():
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(tier))


def test_overlapping_windows_are_cut_at_the_next_one(tmp_path: Path) -> None:
    labels = ["anger", "fear", "anger"]
    rows = [
        {"file": "a.wav", "start": float(i), "end": i + 3.0, "source": "voice", "space": "s", "label": x, "score": 0.9}
        for i, x in enumerate(labels)
    ]
    tiers = read_eaf(report.save(Timeline.from_rows(rows), tmp_path / "x.eaf"))
    assert tiers["Whole recording · voice · s"] == [(0, 1000, "anger"), (1000, 2000, "fear"), (2000, 5000, "anger")]


def test_xml_and_praat_escaping(tmp_path: Path) -> None:
    text = 'a "quoted" <tag> & ]]> \x00\x07 \ud800 line\nbreak'.replace("\ud800", "")
    timeline = Timeline.from_rows([one(text, speaker='Z "<&>" 1')])
    eaf = read_eaf(report.save(timeline, tmp_path / "x.eaf"))
    assert eaf['Z "<&>" 1 · transcript'][0][2] == 'a "quoted" <tag> & ]]>   line\nbreak'
    grid, _ = read_textgrid(report.save(timeline, tmp_path / "x.TextGrid"))
    assert grid['Z "<&>" 1 · transcript'][1][2] == 'a "quoted" <tag> & ]]> line break'


def test_vtt_escapes_and_keeps_times(conversation: Timeline, tmp_path: Path) -> None:
    hostile = one("a --> b\n\n<script>&", 3725.0004, 3726.9996, speaker="A <b>")
    cues = read_vtt(report.save(Timeline.from_rows([hostile]), tmp_path / "x.vtt"))
    assert cues == [(3725000, 3727000, "<v A &lt;b&gt;>a --&gt; b &lt;script&gt;&amp;")]
    cues = read_vtt(report.save(conversation, tmp_path / "talk.vtt"))
    assert any(c[0] == 1200 and "<v Anna>I am so glad" in c[2] and "\n(" in c[2] for c in cues)
    assert any(c[2].startswith("Ben (face 2): ") for c in cues)


@pytest.mark.parametrize("suffix", [".vtt", ".eaf", ".TextGrid"])
def test_formats_for_one_recording_refuse_others(
    make: Callable[..., Timeline], several: Callable[..., Timeline], tmp_path: Path, suffix: str
) -> None:
    short = make(duration=5.0, turns=False)
    two = several(short, make("b.mp4", duration=5.0, turns=False))
    with pytest.raises(AffectusError, match=r"holds 2 .*filter\(file"):
        report.save(two, tmp_path / f"x{suffix}")
    report.save(two.filter(file="b.mp4"), tmp_path / f"x{suffix}")
    with pytest.raises(AffectusError, match="holds 0"):
        report.save(Timeline.from_rows([]), tmp_path / f"y{suffix}")
    text = Timeline.from_rows([one("no times", float("nan"), float("nan"))])
    with pytest.raises(AffectusError, match="no times"):
        report.save(text, tmp_path / f"y{suffix}")

from __future__ import annotations

from pathlib import Path

import pytest

from affectus import corpora
from affectus.corpora.conflicts import alignment, conflict_counts, conflict_sets, judgements
from affectus.errors import CorpusError


@pytest.mark.parametrize(
    ("joint", "video", "audio", "subset"),
    [
        ("happy", "happy", "angry", "video-aligned"),
        ("happy", "angry", "happy", "audio-aligned"),
        ("happy", "happy", "happy", "consistent"),
        ("happy", "angry", "sad", None),
        ("happy", None, "happy", None),
        (0.4, 0.2, -0.6, "video-aligned"),
        (-0.4, 0.2, -0.6, "audio-aligned"),
        (0.0, 0.0, 0.0, "consistent"),
        (0.3, float("nan"), 0.3, None),
        (["happy", "worry"], ["worry"], ["sad"], "video-aligned"),
        ([], ["worry"], ["sad"], None),
    ],
)
@pytest.mark.sheet("Build-your-own conflict set: aligned if sign(val_v) = sign(val_m) != sign(val_a) etc.")
def test_alignment(joint: object, video: object, audio: object, subset: str | None) -> None:
    assert alignment(joint, video, audio) == subset


def test_small_scores_count_as_zero() -> None:
    assert alignment(0.4, 0.2, 0.05) == "consistent"
    assert alignment(0.4, 0.2, 0.05, margin=0.1) == "video-aligned"


def test_sets_from_drawn_corpora(tmp_path: Path) -> None:
    """CH-SIMS: the drawn scores are T -.2, A 0, V 1 with joint .2k - .6: video-aligned where that is positive."""
    corpora.write_tiny("ch_sims", tmp_path / "sims")
    clips = corpora.load("ch_sims", tmp_path / "sims")
    signs = [value > 0 for value in clips.column("dim:sentiment")]
    counts = conflict_counts(clips)
    assert judgements(clips) == ("dim:sentiment", "meta:video_score", "meta:audio_score")
    assert counts["video-aligned"] == sum(signs)
    assert sum(counts.values()) == len(clips)
    corpora.write_tiny("ca_mer", tmp_path / "camer")
    known = corpora.load("ca_mer", tmp_path / "camer")
    again = conflict_sets(known)
    assert again.column("meta:subset") == known.column("meta:subset"), "the publisher's subsets follow from the labels"
    drawn = conflict_sets(known, per_subset=1, seed=3)
    assert sorted(drawn.column("meta:subset")) == ["audio-aligned", "consistent", "video-aligned"]
    assert drawn.column("id") == conflict_sets(known, per_subset=1, seed=3).column("id")


def test_bad_input(tmp_path: Path) -> None:
    corpora.write_tiny("ca_mer", tmp_path / "camer")
    clips = corpora.load("ca_mer", tmp_path / "camer")
    with pytest.raises(CorpusError, match="only 2 rows for video-aligned"):
        conflict_sets(clips, per_subset=3)
    with pytest.raises(CorpusError, match="no column 'meta:nose'"):
        conflict_sets(clips, ("labels:merr9", "meta:nose", "meta:audio_labels"))
    with pytest.raises(CorpusError, match="name joint, video and audio"):
        conflict_sets(clips, ("labels:merr9",))
    with pytest.raises(CorpusError, match="disagree"):
        conflict_sets(clips.filter([name == "consistent" for name in clips.column("meta:subset")]))
    corpora.write_tiny("meld", tmp_path / "meld")
    with pytest.raises(CorpusError, match="picture and sound alone"):
        conflict_sets(corpora.load("meld", tmp_path / "meld", strict=False))


def test_real_conflicts_of_emotiontalk(shared_data: Path) -> None:
    clips = corpora.load("emotiontalk", shared_data / "emotiontalk", strict=False)
    counts = conflict_counts(clips)
    assert sum(counts.values()) == len(clips) == 19250
    assert min(counts.values()) > 500, counts
    sets = conflict_sets(clips, per_subset=500)
    assert len(sets) == 1500
    rows = sets.table.select(["meta:subset", "label:emotiontalk7", "meta:video_label", "meta:audio_label"]).to_pylist()
    for row in rows:
        subset, joint, video, audio = row.values()
        assert (video == joint, audio == joint) == (subset != "audio-aligned", subset != "video-aligned")

"""Finding inputs in folders and subtitles beside recordings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from affectus.errors import MediaError
from affectus.media.files import OUTPUT_MARKER, find_media, sidecar


def lay_out(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return paths


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_folder_is_searched_in_order(tmp_path: Path) -> None:
    lay_out(tmp_path, "b.mp4", "a.WAV", "sub/z.txt", "sub/deep/c.png", "sub/d.csv", "notes.pdf", "code.py")
    assert names(find_media(tmp_path), tmp_path) == ["a.WAV", "b.mp4", "sub/d.csv", "sub/z.txt", "sub/deep/c.png"]


def test_hidden_and_output_folders_are_left_out(tmp_path: Path) -> None:
    lay_out(tmp_path, "a.mp4", ".b.mp4", ".hidden/c.mp4", "out/report.csv", f"out/{OUTPUT_MARKER}", "out/x/d.csv")
    assert names(find_media([tmp_path]), tmp_path) == ["a.mp4"]


def test_hidden_file_named_explicitly_is_taken(tmp_path: Path) -> None:
    paths = lay_out(tmp_path, ".b.mp4", "odd.xyz")
    assert find_media(paths) == paths


def test_side_cars_are_no_inputs(tmp_path: Path) -> None:
    lay_out(tmp_path, "clip.mp4", "clip.srt", "clip.en.vtt", "clip.mp4.srt", "clipper.srt", "other.vtt", "sub/clip.srt")
    expected = ["clip.mp4", "clipper.srt", "other.vtt", "sub/clip.srt"]
    assert names(find_media(tmp_path), tmp_path) == expected
    listed = find_media([tmp_path / "clip.srt", tmp_path / "clip.mp4"])
    assert names(listed, tmp_path) == ["clip.mp4"]


def test_subtitle_alone_is_an_input(tmp_path: Path) -> None:
    paths = lay_out(tmp_path, "clip.mp4", "clip.srt")
    assert find_media(paths[1]) == [paths[1]]


def test_picture_has_no_side_car(tmp_path: Path) -> None:
    lay_out(tmp_path, "clip.png", "clip.srt")
    assert names(find_media(tmp_path), tmp_path) == ["clip.png", "clip.srt"]


def test_no_repeats(tmp_path: Path) -> None:
    (path,) = lay_out(tmp_path, "a.mp4")
    (tmp_path / "again.mp4").symlink_to(path)
    assert len(find_media([path, tmp_path, str(path)])) == 1


def test_link_in_a_circle_ends(tmp_path: Path) -> None:
    lay_out(tmp_path, "sub/a.mp4")
    (tmp_path / "sub" / "circle").symlink_to(tmp_path)
    assert names(find_media(tmp_path), tmp_path) == ["sub/a.mp4"]


def test_missing_file_is_kept_for_its_own_error(tmp_path: Path) -> None:
    (path,) = lay_out(tmp_path, "a.mp4")
    assert find_media([tmp_path / "gone.mp4", path]) == [tmp_path / "gone.mp4", path]


def test_nothing_found(tmp_path: Path) -> None:
    lay_out(tmp_path, "notes.pdf")
    with pytest.raises(MediaError, match="holds no video"):
        find_media(tmp_path)
    with pytest.raises(MediaError, match="list of inputs"):
        find_media([])


def test_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(MediaError, match="may not be listed"):
        find_media(tmp_path)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (["clip.srt"], "clip.srt"),
        (["clip.vtt", "clip.srt"], "clip.srt"),
        (["clip.mp4.srt", "clip.vtt"], "clip.vtt"),
        (["clip.en.srt", "clip.mp4.vtt"], "clip.mp4.vtt"),
        (["clip.pt-BR.srt"], "clip.pt-BR.srt"),
        (["clip.SRT"], "clip.SRT"),
        (["clip2.srt", "clip.part.srt", "clip.part2.srt", "clip.txt"], None),
        ([], None),
    ],
)
def test_side_car(tmp_path: Path, present: list[str], expected: str | None) -> None:
    lay_out(tmp_path, "clip.mp4", *present)
    found = sidecar(tmp_path / "clip.mp4")
    assert (found.name if found else None) == expected


def test_side_car_in_a_missing_folder(tmp_path: Path) -> None:
    assert sidecar(tmp_path / "gone" / "clip.mp4") is None


def test_side_car_of_names_with_points_and_brackets(tmp_path: Path) -> None:
    lay_out(tmp_path, "my.[holiday] clip.mp4", "my.[holiday] clip.srt", "my.srt")
    assert sidecar(tmp_path / "my.[holiday] clip.mp4") == tmp_path / "my.[holiday] clip.srt"

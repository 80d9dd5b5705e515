"""What corpora of short face videos have in common: a clip is a video file or a folder of frames, named by a number."""

from __future__ import annotations

from affectus.corpora.base import Notes
from affectus.corpora.files import Files
from affectus.media.files import VIDEO_SUFFIXES


def clip(files: Files, name: str, prefer_frames: bool = True) -> str | None:
    """Reference of a clip by its number, padded to five digits or not: the folder of frames, else the video."""
    spellings = dict.fromkeys((name, name.zfill(5), name.lstrip("0") or "0"))
    folders = [ref for s in spellings for ref in files.folders_named(s)]
    videos = [ref for s in spellings for ref in files.named(s, VIDEO_SUFFIXES)]
    found = [*folders, *videos] if prefer_frames else [*videos, *folders]
    return found[0] if found else None


class Folds:
    """Items of several train and test lists: their label, and the fold in whose test list they are."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.labels: dict[str, str] = {}
        self.fold: dict[str, int] = {}
        self._trained: dict[tuple[int, str], str] = {}
        self._lists: dict[str, set[int]] = {"train": set(), "test": set()}

    def add(self, fold: int, part: str, name: str, label: str, ref: str, line: int) -> None:
        """Take one line of a list; contradictions between lists are errors."""
        self._lists[part].add(fold)
        known = self.labels.setdefault(name, label)
        if known != label:
            self.notes.error(ref, line, f"{name} is {label} here and {known} in another list", "fetch the lists again")
        if part == "train":
            self._trained[fold, name] = ref
            return
        if self.fold.setdefault(name, fold) != fold:
            reason = f"{name} is tested in folds {self.fold[name]} and {fold}"
            self.notes.error(ref, line, reason, "fetch the lists again")

    def check(self) -> None:
        """Note folds that lack a list, and clips that are trained on and tested within one fold."""
        train, test = self._lists["train"], self._lists["test"]
        for fold in sorted(train ^ test) if train and test else ():
            lacking = "test" if fold in train else "train"
            self.notes.error(f"fold {fold}", 0, f"has no {lacking} list", "fetch the lists again")
        for name, fold in self.fold.items():
            if ref := self._trained.get((fold, name)):
                self.notes.error(ref, 0, f"{name} is in the train and the test list of fold {fold}")

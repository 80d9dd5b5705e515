"""Analysed recordings as clips that a language model can describe for training: evidence per channel, votes, checks.

A clip is one turn of one person. `channels` hold the usual wording of every fact of the face and of the voice, `votes`
what each model says on its own; the checks are the filters by rule of a caption corpus: the speaker can be seen where a
face is described, and most of a description has rows. (Steps of MER-Caption+, AffectGPT, arXiv 2501.16566.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from affectus.analysis import grounding
from affectus.analysis.accounts import Account, accounts
from affectus.analysis.describing import when
from affectus.types import Timeline

#: Channel of a description → modality of the timeline.
CHANNELS = {"face": "face", "audio": "voice"}
#: Least share of the sentences of a description that must have rows.
GROUNDED = 0.5
Clip = Mapping[str, Any]


def clips_of(timeline: Timeline, file: str, name: str) -> Iterator[dict[str, Any]]:
    """Clips of one file: `name` (with a number where there are several), `who`, `when`, `subtitle`, `channels`,
    `votes` and the `account` behind them all."""
    found, _ = accounts(timeline, file)
    kind = str((timeline.meta.get("files", {}).get(file) or {}).get("kind", ""))
    for number, account in enumerate(found):
        channels = {channel: _told(account, source) for channel, source in CHANNELS.items()}
        words = " ".join(_told(account, "words"))
        yield {
            "name": f"{name}_{number:04d}" if len(found) > 1 else name,
            "who": account.who,
            "when": when(account),
            "subtitle": f"“{account.said}” {words}".strip() if account.said else "",
            "channels": {channel: told for channel, told in channels.items() if told},
            "votes": votes(account),
            "unseen": kind == "video" and account.track < 0,
            "account": account,
        }


def _told(account: Account, source: str) -> tuple[str, ...]:
    return tuple(fact.ways[0] for fact in account.facts if fact.told and fact.source == source)


def votes(account: Account) -> list[str]:
    """What the face, the voice and the words say most clearly, each on its own, `neutral` left out."""
    found: dict[str, tuple[str, float]] = {}
    for fact in account.facts:
        for word, score in fact.words.items():
            if fact.source != "fusion" and score > found.get(fact.source, ("", 0.0))[1]:
                found[fact.source] = (word, score)
    return [word for word, _ in found.values() if word != "neutral"]


def grounded(clip: Clip, description: str) -> str:
    """Why a description says too much: fewer than half of its sentences have rows; "" when it does not."""
    checked = grounding.check(description, clip["account"])
    count = len(checked.kept) + len(checked.dropped)
    if count and len(checked.kept) >= GROUNDED * count:
        return ""
    why = ", ".join(f"{n} {reason}" for reason, n in checked.reasons().items())
    return f"{len(checked.kept)} of {count} sentences have rows ({why})"


def speaker_seen(clip: Clip, description: str) -> str:
    """Why the face of a clip may not be the speaker's: the speaker of a video is no visible face."""
    return "whoever speaks is not the face in view" if clip["unseen"] else ""


def readable(clip: Clip, description: str) -> str:
    """Why a description cannot be used: it is empty or repeats itself."""
    from affectus.lm.completions import inspect

    state = inspect(description)
    return "" if state.state == "ok" else f"it is {state.state}"


#: The filters by rule, by name.
CHECKS: dict[str, Callable[[Clip, str], str]] = {
    "generation": readable,
    "speaker": speaker_seen,
    "rows": grounded,
}

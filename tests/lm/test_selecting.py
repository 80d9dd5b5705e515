"""Small models that choose instead of write: whatever the weights, the reply is made of what the question holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from affectus.errors import ModelError
from affectus.lm.constrained import LabelTrie
from affectus.lm.judge import JudgeTimeout, LocalClient
from affectus.lm.prompts import load_prompt
from affectus.lm.review import AGREEMENT, MERGE, read_agreement
from affectus.lm.selecting import SelectingClient, SharedSentences
from affectus.lm.verbaliser import ConstrainedWriter, FreeWriter, Request, local_generate, read_generation

FACE, VOICE = "The face shows joy (80%).", "The voice sounds closest to happy (60%)."


@pytest.fixture(scope="module")
def small(tokenizer: Any) -> Any:
    from affectus.lm.toy import toy_language_model

    return toy_language_model(len(tokenizer), positions=2048)


def test_of_a_group_only_one_wording_is_taken(tokenizer: Any) -> None:
    groups = {"it is joy": "0", "joy it is": "0", "it is fear": "1"}
    trie = LabelTrie(tokenizer, tuple(groups), separator=" ", most=3, end=(1,), groups=groups)
    texts = ("it is joy", " joy it is", " it is fear")
    first, same, other = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
    assert trie.decode([*first, *other, 1]) == ["it is joy", "it is fear"]
    assert trie.decode([*first, *same, 1]) is None
    assert trie.allowed(first) == {1, other[0]}


def test_the_writer_can_only_say_what_the_evidence_says(small: Any, tokenizer: Any) -> None:
    request = Request(
        "Anna", "", ((FACE, "The face looks closest to joy (80%)."), (VOICE,)), ("joy", "happy"), "Hello."
    )
    found = ConstrainedWriter(small, tokenizer, "toy").write(request)
    assert found.state == "ok"
    assert set(found.words) <= {"joy", "happy"}
    assert found.words
    left = found.text
    for ways in request.evidence:
        assert sum(way in found.text for way in ways) <= 1
        for way in ways:
            left = left.replace(way, "")
    assert not left.strip()
    assert read_generation(found.raw).text == found.text


def test_a_writer_without_time_gives_a_state_and_no_text(small: Any, tokenizer: Any) -> None:
    found = ConstrainedWriter(small, tokenizer, "toy", timeout=0.0).write(Request("Anna", "", ((FACE,),), ("joy",)))
    assert (found.state, found.text) == ("timeout", "")
    with pytest.raises(JudgeTimeout):
        local_generate(small, tokenizer, "toy", timeout=1e-9)([{"role": "user", "content": "Hello"}])


def test_merging_takes_measured_sentences_and_leaves_quotations(small: Any, tokenizer: Any) -> None:
    client = SelectingClient(small, tokenizer, "toy", most=5)
    said = "“I am fine. Really.” The words express approval (40%)."
    reply = client.reply(load_prompt(MERGE).messages(face=FACE, audio=VOICE, subtitle=said))
    left = reply
    for sentence in (FACE, VOICE, "The words express approval (40%)."):
        left = left.replace(sentence, "")
    assert reply.strip()
    assert not left.strip()
    with pytest.raises(ModelError, match="no sentences"):
        client.reply([{"role": "user", "content": "Hello"}])
    assert client.identity["decoding"] == "selected sentences"


@pytest.mark.parametrize(
    ("description", "score"),
    [
        (f"{FACE} {VOICE}", 10),
        (f"{FACE} The voice sounds closest to happy (90%).", 5),
        ("The face shows closest to happy (60%).", 0),
        ("There is a cat.", 0),
        (f"{VOICE} The words express joy (84%). What is said reads as joy (84%).", 10),
        ("The words express joy (84%).", 0),
    ],
)
def test_a_description_is_scored_by_what_the_analyses_hold(description: str, score: int) -> None:
    messages = load_prompt(AGREEMENT).messages(description=description, face=FACE, audio=VOICE)
    reply = SharedSentences().reply(messages)
    assert json.loads(reply) == {"score": score}
    assert read_agreement(reply).ok
    with pytest.raises(ModelError, match="no description"):
        SharedSentences().reply([{"role": "user", "content": "Hello"}])


class Broken:
    """A model that fails as one does whose context is too short."""

    device = "cpu"

    def generate(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("index out of range in self\nmore")


def test_a_model_that_fails_is_a_state(tokenizer: Any) -> None:
    request = Request("Anna", "", ((FACE,),), ("joy",))
    found = ConstrainedWriter(Broken(), tokenizer, "toy").write(request)
    assert (found.state, found.text) == ("failed", "")
    assert "gave no answer: index out of range in self" in found.error
    client = LocalClient("toy", local_generate(Broken(), tokenizer, "toy", 9.0))
    assert FreeWriter(client, "toy").write(request).state == "failed"

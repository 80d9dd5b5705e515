"""PRC-Emo: circle, difficulty, curriculum, retrieval, prompts, parser, what retrieval teaches, scoring, bad input.

Line 3 of the sheet is shown on MELD's training csv, which holds the same conversations as the published JSON; its
IEMOCAP values and ranges over all conversations cannot be shown, for neither the JSON nor IEMOCAP is among the shared
data. The published numbers need Qwen3-8B and a GPU.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from affectus import corpora, labels
from affectus.corpora.difficulty import corpus_difficulty, dialogue_difficulty
from affectus.corpora.readers import meld
from affectus.corpora.synthetic import Tiny
from affectus.errors import ConfigError, LabelError, MediaError, ModelError
from affectus.evaluation.systems import record_run, score_rows
from affectus.lm.constrained import score_answers
from affectus.lm.demonstrations import Demonstration, DemonstrationStore, SentenceVectors
from affectus.lm.dialogue_prompts import DialoguePrompt
from affectus.lm.interpretations import parse_interpretation
from affectus.metrics import weighted_f1
from affectus.nn.phase import Phase
from affectus.systems import registry
from affectus.systems.base import Batch
from affectus.systems.prc_emo import CARD, Config, PrcEmo
from affectus.systems.prediction import predict
from affectus.training.curriculum import curriculum_part
from affectus.training.run import train
from affectus.training.system_task import BatchItems, SystemTask, outputs_of
from affectus.types import Turn

SNAPSHOTS = Path(__file__).with_name("snapshots")


def system(**changes: Any) -> PrcEmo:
    torch.manual_seed(0)
    return PrcEmo(replace(Config.tiny(), **changes)).eval()


def tiny_meld(folder: Path) -> Any:
    meld.write_tiny(Tiny(folder))
    return corpora.load("meld", folder)


@pytest.mark.sheet("Similarities: MELD joy-surprise .5878 …; IEMOCAP happy-excited .8090 …; neutral-x 1/7 and 1/6")
@pytest.mark.parametrize(
    ("space", "first", "second", "value"),
    [
        ("meld7", "joy", "surprise", 0.5878), ("meld7", "anger", "disgust", 0.5878), ("meld7", "anger", "fear", 0.3090),
        ("meld7", "fear", "disgust", 0.9511), ("meld7", "anger", "sadness", 0), ("meld7", "surprise", "fear", 0),
        ("meld7", "neutral", "joy", 0.1429), ("iemocap6", "happy", "excited", 0.8090),
        ("iemocap6", "sad", "frustrated", 0.3090), ("iemocap6", "neutral", "sad", 0.1667),
        ("iemocap6", "angry", "frustrated", 0),
    ],
)  # fmt: skip
def test_similarities_on_the_circle(space: str, first: str, second: str, value: float) -> None:
    known = labels.space(space)
    found = labels.circle_similarity(known)[known.index(first), known.index(second)]
    assert found == pytest.approx(value, abs=5e-5)


@pytest.mark.sheet("Hand value (MELD): A joy, B anger, A joy, B neutral -> 0.6476")
def test_difficulty_by_hand() -> None:
    found = dialogue_difficulty(["joy", "anger", "joy", "neutral"], list("ABAB"), "meld7")
    assert found == pytest.approx((0.5429 + 0.4 + 0.4 + 0.5429 + 2) / 6, abs=1e-4)
    assert round(found, 4) == 0.6476


@pytest.mark.corpus
@pytest.mark.sheet('On the published JSON: MELD dialogue "0" = .4554 (14 utterances, 2 speakers), "1" .5810, "2" .8125')
def test_difficulty_of_published_conversations(shared_data: Path) -> None:
    train = corpora.load("meld", shared_data / "meld", strict=False).split("train")
    hard = corpus_difficulty(train, "label:meld7")
    talks = train.dialogues()
    for number, value in ((0, 0.4554), (1, 0.5810), (2, 0.8125)):
        rows = talks[f"train/dia{number}"]
        assert np.ptp(hard[rows]) == 0
        assert hard[rows[0]] == pytest.approx(value, abs=5e-5)
    assert len(talks["train/dia0"]) == 14
    each = np.array([hard[rows[0]] for rows in talks.values()])
    assert each.min() == pytest.approx(0.125, abs=1e-3)
    assert each.max() < 0.95


@pytest.mark.sheet("Curriculum with n=2 over 4 epochs yields half, all, all, all; max of bucket 1 <= min of bucket 2")
def test_the_curriculum_grows() -> None:
    own = system()
    batch = own.example(21, seed=3)
    task = SystemTask(own, BatchItems(batch), BatchItems(batch))
    seen = []
    for phase in own.phases():
        for epoch in range(phase.epochs):
            given = Phase(phase.name, 1, 1e-3, 1, options=phase.options)
            ids = [float(item["difficulty"][0]) for item in task.loader(given, epoch)]
            seen.append(sorted(ids))
    assert [len(ids) for ids in seen] == [11, 21, 21, 21]
    rest = sorted(batch["difficulty"].tolist())
    assert seen[0] == rest[:11]
    assert max(seen[0]) <= min(rest[11:])
    assert [phase.epochs for phase in system(buckets=0).phases()] == [4]
    assert [phase.epochs for phase in system(buckets=3).phases()] == [1, 1, 1, 2]


@pytest.mark.sheet("Retrieval: a training query never returns itself; cosine and L2 rankings agree; three results")
def test_an_utterance_is_not_its_own_demonstration(tmp_path: Path) -> None:
    corpus = tiny_meld(tmp_path).split("train")
    own = system(demonstrations=3)
    own.prepare(corpus, "label:meld7")
    items = own.items(corpus, "label:meld7")
    assert len(items) == len(corpus) == 6
    for i, text in enumerate(corpus.column("text")):
        shown = items[i]["dialogue"]["demonstrations"]
        assert len(shown) == 3
        assert text not in [one[0] for one in shown]  # the drawn texts all differ
        assert [one[3] for one in shown] == sorted((one[3] for one in shown), reverse=True)
        assert own.store is not None
        vectors = np.asarray(own.store.index.vectors)
        distances = np.linalg.norm(vectors - items[i]["vector"], axis=1)
        nearest = [row for row in np.argsort(distances) if row != i][:3]
        assert [one[0] for one in shown] == [own.store.demonstrations[row].text for row in nearest]
    held = own.items(tiny_meld(tmp_path).split("valid"), "label:meld7")
    known = {one.text for one in own.store.demonstrations}  # type: ignore[union-attr]
    assert all(one[0] in known for i in range(len(held)) for one in held[i]["dialogue"]["demonstrations"])


RECORD: dict[str, Any] = {
    "turns": [["MONICA", "You can't be serious."], ["ROSS", "I am. I moved out."], ["MONICA", "Oh my God!"],
              ["ROSS", "It is fine, really."]],
    "target": 2,
    "explicit": "The short cry sounds like sudden alarm.",
    "implicit": "The news seems to hit her unprepared.",
    "character": "Monica comes across as quick and caring.",
    "demonstrations": [["Oh my God, no!", "surprise", "meld", 0.781], ["What happened?", "fear", "emorynlp", 0.5]],
}  # fmt: skip


def asked(space: str, **changes: Any) -> str:
    record = RECORD if space == "meld7" else {**RECORD, "turns": [["MARY", "It is lost."], ["JAMES", "Lost?"],
                                                                   ["MARY", "I told them twice!"]]}  # fmt: skip
    shown = [[text, label if space == "meld7" else "excited", *rest] for text, label, *rest in RECORD["demonstrations"]]
    prompt = DialoguePrompt("prc_emo/classify", labels.space(space).labels, **changes)
    found = prompt.messages({**record, "demonstrations": shown})
    return "\n".join(f"[{message['role']}]\n{message['content']}" for message in found) + "\n"


@pytest.mark.sheet("Prompt snapshot test for both datasets")
@pytest.mark.parametrize("space", ["meld7", "iemocap6"])
def test_prompt_snapshots(space: str) -> None:
    assert asked(space) == (SNAPSHOTS / f"prc_emo_{space}.txt").read_text(encoding="utf-8")


@pytest.mark.sheet("switching off P, R or speaker removes exactly its block")
@pytest.mark.parametrize(
    ("switch", "first"),
    [
        ({"interpretations": False}, "### Given the speaker's Explicit"),
        ({"demonstrations": 0}, "### Reference Similar"),
        ({"characters": False}, "### Given the characteristic"),
    ],
)
def test_a_switch_removes_its_block(switch: dict[str, Any], first: str) -> None:
    whole = asked("meld7")
    blocks = whole.split("\n\n")
    gone = [block for block in blocks if block.startswith(first)]
    assert len(gone) == 1
    assert asked("meld7", **switch) == whole.replace(gone[0] + "\n\n", "")


@pytest.mark.sheet("Parser recovers both fields from clean JSON, JSON inside prose, and the marker fallback; garbage …")
def test_parser_of_interpretations() -> None:
    clean = json.dumps({"ExplicitEmotion": "It sounds flat.", "ImplicitEmotion": 'He says "fine" too fast.'})
    found = parse_interpretation(clean)
    assert (dict(found.fields), found.exact) == (
        {"explicit": "It sounds flat.", "implicit": 'He says "fine" too fast.'}, True)  # fmt: skip
    for reply in (
        f"Sure! Here it is:\n```json\n{clean}\n```\nAnything else?",
        f"<think>maybe {{a}} or b</think>\n{clean}",
        'ExplicitEmotion: It sounds flat.\nImplicitEmotion: He says "fine" too fast.',
        'First try. ExplicitEmotion: x ImplicitEmotion: y\n**ExplicitEmotion**: It sounds flat.\n'
        '"ImplicitEmotion": He says "fine" too fast.',
    ):  # fmt: skip
        found = parse_interpretation(reply)
        assert found["explicit"] == "It sounds flat."
        assert found["implicit"].strip('"') == 'He says "fine" too fast.'.strip('"')
        assert not found.exact
        assert found.repairs
    found = parse_interpretation("I cannot say.")
    assert dict(found.fields) == {"explicit": "", "implicit": "I cannot say."}
    assert found.repairs
    assert parse_interpretation("  ").error
    assert parse_interpretation("<think>never ends").error


WORDS = ["table", "monday", "report", "street", "lost", "alone", "tears", "hate", "stupid", "enough", "gross", "rotten",
         "dark", "help", "wow", "whoa", "glad", "sunny", "laugh", "great", "the", "we", "then", "it", "was",
         "and", "there", "some", "today", "you"]  # fmt: skip


def copied(own: PrcEmo, count: int, seed: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Utterances that differ from a stored sentence in one word and have its label, which is drawn by chance."""
    random = np.random.default_rng(seed)
    stored = [[str(w) for w in random.choice(WORDS, 6, replace=False)] for _ in range(count)]
    wanted = random.integers(0, len(own.labels()), count)
    if own.config.demonstrations:
        known = [Demonstration(" ".join(words), own.labels()[label], "meld7", "made", "talk", str(i))
                 for i, (words, label) in enumerate(zip(stored, wanted, strict=True))]  # fmt: skip
        own.store = DemonstrationStore.of(known, own.vectors)
    for words in stored:
        words[int(random.integers(6))] = str(random.choice(WORDS))
    return own.complete([{"turns": [["Ann", " ".join(words)]], "target": 0} for words in stored]), wanted


def learnt(seed: int, demonstrations: int) -> float:
    """Accuracy with a new store, after learning with another one."""
    torch.manual_seed(seed)
    own = PrcEmo(replace(Config.tiny(), demonstrations=demonstrations, rank=0))
    own.model.requires_grad_(True)
    records, wanted = copied(own, 400, seed)
    optimizer = torch.optim.AdamW(own.parameters(), 3e-3, weight_decay=0.0)
    random = np.random.default_rng(seed)
    own.train()
    for _ in range(170):
        rows = random.choice(400, 16, replace=False)
        batch: Batch = {"dialogue": [records[row] for row in rows], "label": torch.from_numpy(wanted[rows])}
        optimizer.zero_grad()
        own.losses(batch, own(batch))["answer"].backward()
        optimizer.step()
    fresh, truth = copied(own.eval(), 100, seed + 1000)
    with torch.no_grad():
        return float((own({"dialogue": fresh})["logits"].argmax(1).numpy() == truth).mean())


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.sheet("Learning with a tiny LM: label of the nearest stored sentence: with R beats without R")
@pytest.mark.parametrize("seed", [0, 1])
def test_retrieval_teaches_what_prompts_alone_cannot(seed: int) -> None:
    assert learnt(seed, demonstrations=1) > learnt(seed, demonstrations=0) + 0.3


def test_labels_are_scored_as_answers_after_the_whole_prompt() -> None:
    """Reading the prompt once gives what reading it with every answer gives, also for prompts of unlike length."""
    own = system()
    batch = own.example(4)
    asked = own.asked([{"messages": own.messages(record)} for record in batch["dialogue"]])
    assert len(set(asked["attention_mask"].sum(1).tolist())) > 1
    answers = [*own.answers, own.answers[0] + own.answers[1]]

    def forgetful(**given: Any) -> Any:
        found = own.model(**given)
        found.past_key_values = None
        return found

    found = score_answers(own.model, asked, answers)
    assert found.shape == (4, 8)
    torch.testing.assert_close(found, score_answers(forgetful, asked, answers), atol=1e-4, rtol=1e-4)
    own.train()
    for place in (0, 3):
        one = {"dialogue": batch["dialogue"], "label": torch.full((4,), place)}
        nll = own(one)
        torch.testing.assert_close(-nll["nll"] * nll["tokens"], found[:, place], atol=1e-4, rtol=1e-4)


def test_loss_on_all_covers_the_prompt() -> None:
    own = system(loss_on="all").train()
    batch = own.example(2)
    found = own(batch)
    asked = own.asked([{"messages": own.messages(record)} for record in batch["dialogue"]])
    lengths = asked["attention_mask"].sum(1) + torch.tensor([len(own.answers[i]) for i in batch["label"].tolist()])
    assert found["tokens"].tolist() == (lengths - 1).tolist()
    alone = [own({k: v[i : i + 1] for k, v in batch.items()})["nll"] for i in range(2)]
    torch.testing.assert_close(torch.cat(alone), found["nll"], atol=1e-5, rtol=1e-5)


def test_noise_is_there_in_training_alone() -> None:
    own = system(noise=5.0)
    batch = own.example(2)
    torch.testing.assert_close(own(batch)["logits"], own(batch)["logits"], rtol=0, atol=0)
    own.train()
    assert not torch.equal(own(batch)["nll"], own(batch)["nll"])


def test_written_answers_are_counted_and_never_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    own = system(scoring="generate")
    batch = own.example(5)
    told = ["joy", "Joy.", "I would say anger", "joy or anger", "banana"]
    monkeypatch.setattr(own, "texts", lambda asked: told)
    outputs = own(batch)
    joy, anger = own.labels().index("joy"), own.labels().index("anger")
    assert outputs["answered"].tolist() == [joy, joy, anger, -1, -1]
    assert own.tally["matched answer"] == 3
    assert own.tally["ambiguous answer"] == own.tally["none answer"] == 1
    decoded = own.decode(outputs)
    assert decoded[2].top()[0] == "anger"
    assert decoded[4].scores.sum() == 0
    truth = np.array([joy, joy, anger, joy, anger])
    found = own.measure({"answered": np.array(outputs["answered"])}, {"label": truth})
    assert found["accuracy"] == 0.6
    assert found["unreadable"] == 0.4
    assert found["weighted_f1"] == pytest.approx((3 * 0.8 + 2 * 2 / 3) / 5)
    exact = system(scoring="generate", matching="exact")
    monkeypatch.setattr(exact, "texts", lambda asked: told)
    assert exact(batch)["answered"].tolist() == [joy, -1, -1, -1, -1]


def test_constrained_decoding_gives_labels_alone() -> None:
    own = system(scoring="constrained")
    outputs = own(own.example(6))
    assert (outputs["answered"] >= 0).all()
    assert own.tally["matched answer"] == 6


def test_measures_of_a_split() -> None:
    own, batch = system(), system().example(9, seed=4)
    outputs, targets, loss = outputs_of(own, BatchItems(batch), batch_size=4)
    found = own.measure(outputs, targets)
    assert found["weighted_f1"] == weighted_f1(batch["label"].numpy(), outputs["logits"].argmax(1))
    picked = outputs["logits"][np.arange(9), batch["label"]]
    sizes = np.array([len(own.answers[i]) for i in batch["label"]])
    parts = [slice(0, 4), slice(4, 8), slice(8, 9)]
    expected = sum(-picked[p].sum() / sizes[p].sum() * len(sizes[p]) for p in parts) / 9
    assert loss == pytest.approx(expected, rel=1e-5)


def test_the_store_is_part_of_what_is_saved(tmp_path: Path) -> None:
    corpus = tiny_meld(tmp_path / "meld")
    own = system(demonstrations=2)
    own.prepare(corpus.split("train"), "label:meld7")
    own.save(tmp_path / "model")
    again = registry.load("prc_emo", tmp_path / "model")
    assert isinstance(again, PrcEmo)
    assert again.store is not None
    turns = [Turn("I hate it", speaker="Ann"), Turn("suddenly gone", speaker="Ben")]
    for a, b in zip(own.follow(turns), again.follow(turns), strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)
    record = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    record["config"]["encoder"] = "ngrams:1-2,width=48,unit=word"
    (tmp_path / "model" / "config.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ModelError, match="holds embeddings of 'ngrams:1,"):
        registry.load("prc_emo", tmp_path / "model")


def test_a_run_on_a_corpus_from_easy_to_hard(tmp_path: Path) -> None:
    """Limited training rows, demonstrations from all of them, no validation, a record of the held-out rows."""
    tiny_meld(tmp_path / "meld")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        """
model: prc_emo
title: on a tiny corpus
corpora: {meld: three splits}
options: {config: tiny, column: 'label:meld7', train: train, limit: 4, validation: 0, test: valid, test_limit: 5}
phases:
  - {name: easy, epochs: 1, lr: 0.01, batch_size: 1, options: {curriculum: {bucket: 1, of: 2}}, train: ['.*lora_']}
  - {name: all, epochs: 1, lr: 0.01, batch_size: 1, train: ['.*lora_']}
accept_leaks: {text: drawn from few words, near text: drawn from few words, 'group:episode': one episode}
""",
        encoding="utf-8",
    )
    train(recipe, {"meld": tmp_path / "meld"}, tmp_path / "run")
    own = registry.load("prc_emo", tmp_path / "run" / "model")
    assert isinstance(own, PrcEmo)
    assert own.store is not None
    assert own.store.counts() == {"meld": 6}
    record = record_run(recipe, {"meld": tmp_path / "meld"}, tmp_path / "run")
    assert record["n"] == 5
    assert "trained on 4, chosen on none" in record["split"]
    assert record["headline"] == "weighted_f1"
    assert record["selection"] == "last weights, nothing was chosen"
    assert {"majority", "linear"} <= set(record["baselines"])
    own.config = replace(own.config, scoring="generate")
    told = iter(["neutral", "no idea", "joy", "surprise", "it is fear"])
    own.texts = lambda asked: [next(told) for _ in asked["input_ids"]]  # type: ignore[method-assign]
    written = score_rows(own, corpora.load("meld", tmp_path / "meld").split("valid").take(range(5)),
                         {"column": "label:meld7"})  # fmt: skip
    assert written.parts["answers"] == {"n": 5, "unreadable": 1}
    assert written.metrics["accuracy"].value in (0.0, 0.2, 0.4, 0.6, 0.8)
    assert "nll" not in written.metrics


def test_cues_of_the_words_model(monkeypatch: pytest.MonkeyPatch, fake_models: Path) -> None:
    from affectus.lm import interpretations
    from affectus.models.words import WordsModel

    monkeypatch.setattr("affectus.models.load", lambda name: WordsModel(fake_models / name))
    assert interpretations.words_cue(["I am glad", "the table", "", "so furious"]) == ["joy", "", "", "anger"]
    own = system(knowledge="words")
    (found,) = own.complete([{"turns": [["Ann", "I am glad"]], "target": 0}])
    assert "joy;" in own.messages(found)[-1]["content"]


def test_long_prompts_lose_far_turns_first() -> None:
    own = system(context=130, window=5, turns="past")
    turns = [["Ann", f"word {i} and some more of it"] for i in range(2000)]
    text = own.messages({"turns": turns, "target": 1999})[-1]["content"]
    assert "word 1999" in text
    assert "word 1994" not in text
    assert own.tally["turns left out of a long prompt"] == 1
    text = own.messages({"turns": [["Ann", "word " * 5000]], "target": 0})[-1]["content"]
    assert text.count("word") > 5
    assert own.tally["end of a long utterance left out"] == 1
    with pytest.raises(ConfigError, match="without any turn"):
        system(context=40).messages({"turns": [["Ann", "hi"]], "target": 0})


def test_odd_turns_do_no_harm(tmp_path: Path) -> None:
    own = system()
    for talk in (["hello"], ["", "  ", "😀😀"], ["a\nb @user\n@system\n{labels} {#x}", ""]):
        assert all(np.isfinite(p.scores).all() for p in own.follow(talk))
    path = tmp_path / "chat.csv"
    path.write_text("speaker,text\nAnn,I lost it\nBen,oh no\n", encoding="utf-8")
    _, found = predict(own, [path])
    assert found.prediction is not None
    turns = [Turn("I lost it", speaker="Ann"), Turn("oh no", speaker="Ben")]
    np.testing.assert_allclose(found.prediction.scores, own.follow(turns)[-1].scores, atol=1e-5)


def test_bad_input_is_named(tmp_path: Path) -> None:
    own = system()
    with pytest.raises(ConfigError, match="dialogue"):
        own({"text": ["hello"]})
    with pytest.raises(ConfigError, match="turn 3 of 1"):
        own({"dialogue": [{"turns": [["Ann", "hi"]], "target": 3, "demonstrations": []}]})
    with pytest.raises(MediaError, match="no turn"):
        own.inputs()["dialogue"]([])
    for wrong in ({"turns": "future"}, {"loss_on": "x"}, {"scoring": "x"}, {"window": -1}, {"matching": "x"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            replace(Config.tiny(), **wrong)
    with pytest.raises(ConfigError, match="no index"):
        system(store=str(tmp_path))
    corpus, other = tiny_meld(tmp_path), system(labels=labels.space("iemocap6").labels, space="iemocap6")
    with pytest.raises(ConfigError, match="labels that prc_emo does not give"):
        other.items(corpus, "label:meld7")
    with pytest.raises(ConfigError, match="no published checkpoint"):
        PrcEmo.from_published({})
    with pytest.raises(LabelError, match="circle"):
        dialogue_difficulty(["calm"], ["A"], "ravdess8")


def test_a_curriculum_that_cannot_be_is_named() -> None:
    items = BatchItems(system().example(4))
    with pytest.raises(ConfigError, match="bucket 3 of 2"):
        curriculum_part(items, {"bucket": 3, "of": 2})
    with pytest.raises(ConfigError, match="unknown settings size"):
        curriculum_part(items, {"size": 3})
    with pytest.raises(ConfigError, match="'length'"):
        curriculum_part(items, {"by": "length"})
    with pytest.raises(ConfigError, match="how hard"):
        curriculum_part(BatchItems({"label": torch.zeros(4)}), {"bucket": 1, "of": 2})


def test_published_sizes() -> None:
    published, iemocap = Config.meld(), Config.iemocap()
    assert (published.rank, published.alpha, published.window, published.demonstrations, published.noise) == (
        32,
        128,
        5,
        3,
        5,
    )
    assert published.labels == CARD.labels == ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
    assert iemocap.labels == ("happy", "sad", "neutral", "angry", "excited", "frustrated")
    assert SentenceVectors(published.encoder).model == "minilm-l6"

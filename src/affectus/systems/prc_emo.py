"""PRC-Emo: the emotion of one utterance of a conversation, asked of a language model with a rich prompt.

Li, Liu, Qiao, Xu: "Do LLMs feel? Teaching emotion recognition with prompts, retrieval, and curriculum learning", AAAI
2026. P: the prompt holds explicit and implicit interpretations of the utterance and the character of its speaker,
written before by a language model (`affectus.lm.interpretations`). R: it shows the most similar labelled sentences of a
store (`affectus.lm.demonstrations`). C: training goes from conversations with few and dissimilar shifts of emotion to
harder ones (`affectus.corpora.difficulty`, `affectus.training.curriculum`), adapters alone learn.

    conversation, utterance --window, P, R--> messages --base with LoRA--> "joy"

A batch holds `dialogue`, a list of records (`affectus.lm.dialogue_prompts`). In training `nll` (B,) is that of the
label as answer; otherwise `logits` (B, C) are the log-likelihoods of all labels as answers, so that probabilities and
calibration are those of any classifier. With `scoring` "generate" (as published) or "constrained" the model writes, and
`answered` (B,) holds class numbers, -1 for an answer that is no label; `tally` counts those.

Deviations: demonstrations carry labels of the space that is asked for (the published ones mix happy and joy) and
cosines, not distances; the store is that of the rows learnt from unless `store` names a larger one; loss on the answer
alone (`loss_on="all"` as the public code); answers are compared after normalisation (`matching="exact"` as published);
the base is not quantised; rate falls by a cosine; no packing, no grouping by length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from affectus import labels
from affectus.corpora import Corpus
from affectus.corpora.difficulty import corpus_difficulty, dialogue_difficulty
from affectus.corpora.synthetic import EMOTIONS, conversation, sentence
from affectus.errors import ConfigError
from affectus.features.inputs import InputSpec
from affectus.lm import dialogue_prompts as dp
from affectus.lm.chat import answer_ids, prompt_ids
from affectus.lm.config import Branch, Encoder
from affectus.lm.constrained import LabelProcessor, LabelTrie, score_answers
from affectus.lm.demonstrations import DemonstrationStore, SentenceVectors, demonstrations_of
from affectus.lm.drawing import log_probabilities
from affectus.lm.interpretations import read_interpretations, words_cue
from affectus.lm.matching import LabelMatcher
from affectus.metrics import weighted_f1
from affectus.nn.phase import Phase
from affectus.systems.base import Batch, Outputs, System, require
from affectus.systems.card import Published, SystemCard
from affectus.systems.generative import GenerativeSystem, LanguageBase, padded
from affectus.types import Prediction, Turn

_TABLE = "AAAI 2026 40:31778, tables of results and ablations, mean of five seeds"
CARD = SystemCard(
    name="prc_emo",
    title="PRC-Emo: prompts, retrieval and curriculum for emotion in conversation",
    year=2026,
    paper="Do LLMs Feel? Teaching Emotion Recognition with Prompts, Retrieval, and Curriculum Learning, AAAI 2026",
    code="github.com/LiXinran6/PRC-Emo",
    summary="A language model names the emotion of an utterance from its conversation, interpretations of it and "
    "similar labelled sentences; adapters learn from easy to hard conversations.",
    modalities=("text",),
    perspective="expressed",
    task="emotion class of an utterance of a conversation",
    space="meld7",
    labels=labels.space("meld7").labels,
    licence={
        "code": "no licence file",
        "weights": "none published; bases: Apache-2.0",
        "data": "MELD GPL-3.0, IEMOCAP by agreement, demonstration sentences: none stated",
    },
    weights="none published (adapters not released)",
    published=(
        Published("meld", "weighted_f1", 0.7044, "test, Qwen3-8B", _TABLE),
        Published("meld", "accuracy", 0.7150, "test, Qwen3-8B", _TABLE),
        Published("meld", "weighted_f1", 0.7007, "test, without curriculum", _TABLE),
        Published("meld", "weighted_f1", 0.7023, "test, without retrieval", _TABLE),
        Published("meld", "weighted_f1", 0.6872, "test, plain LoRA", _TABLE),
        Published("iemocap", "weighted_f1", 0.7195, "session 5, Qwen2.5-7B-Instruct", _TABLE),
        Published("iemocap", "accuracy", 0.7103, "session 5, Qwen2.5-7B-Instruct", _TABLE),
        Published("iemocap", "weighted_f1", 0.7152, "session 5, without curriculum", _TABLE),
        Published("iemocap", "weighted_f1", 0.6854, "session 5, plain LoRA", _TABLE),
    ),
    deviations=("labels of demonstrations mapped to those asked for", "loss on the answer alone",
                "base not quantised", "cosine instead of linear rate", "no packing"),
    limits=(
        "The published window looks five turns ahead; set turns to past for live use.",
        "The published speaker descriptions have seen the whole conversation.",
        "328 of MELD's 2,610 test utterances occur word for word in its training text: report duplicates=False too.",
        "A model of 135 million weights is far below the published bases.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Config(LanguageBase):
    """Settings beside those of the language model.

    `prompt` is a prompt file, `window` and `turns` say which other turns it shows. `demonstrations` are shown of the
    store in folder `store` ("": of the rows learnt from) by the sentence encoder `encoder`; `duplicates` lets sentences
    with the very words of the utterance be among them. `knowledge` is a file of interpretations, "words" (what the
    library's words model sees, as explicit cue) or "" (none); `interpretations` and `characters` switch their blocks.
    `noise` is that of embeddings in training (NEFTune), `buckets` are those of the curriculum, 0 for none.
    """

    base: str = "Qwen/Qwen3-8B"
    rank: int = 32
    alpha: float = 128.0
    longest: int = 10
    labels: tuple[str, ...] = CARD.labels
    space: str = "meld7"
    prompt: str = "prc_emo/classify"
    window: int = 5
    turns: Literal["around", "past"] = "around"
    demonstrations: int = 3
    encoder: str = "minilm-l6"
    store: str = ""
    duplicates: bool = True
    knowledge: str = ""
    interpretations: bool = True
    characters: bool = True
    loss_on: Literal["answer", "all"] = "answer"
    noise: float = 5.0
    buckets: int = 2
    scoring: Literal["likelihood", "constrained", "generate"] = "likelihood"
    matching: Literal["strict", "exact"] = "strict"
    checkpointing: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("turns", ("around", "past")), ("loss_on", ("answer", "all")),
                            ("scoring", ("likelihood", "constrained", "generate")),
                            ("matching", ("strict", "exact"))):  # fmt: skip
            if getattr(self, name) not in known:
                raise ConfigError(name, f"{getattr(self, name)!r} is none of {', '.join(known)}")
        if self.window < 0 or self.demonstrations < 0 or self.buckets < 0:
            raise ConfigError("window, demonstrations, buckets", "must not be negative")

    @classmethod
    def meld(cls) -> Config:
        """As published for MELD."""
        return cls()

    @classmethod
    def iemocap(cls) -> Config:
        """As published for IEMOCAP."""
        return cls(base="Qwen/Qwen2.5-7B-Instruct", labels=labels.space("iemocap6").labels, space="iemocap6")

    @classmethod
    def published(cls) -> Config:
        """With the ways of the public code: loss on prompts too, written answers compared letter by letter."""
        return cls(loss_on="all", scoring="generate", matching="exact")

    @classmethod
    def packaged(cls) -> Config:
        """The small model of the library with a short prompt: past turns, cues of the words model; for processors."""
        return cls(base="packaged", prompt="prc_emo/short", window=3, turns="past", context=512, knowledge="words",
                   noise=0.0, checkpointing=False)  # fmt: skip

    @classmethod
    def tiny(cls) -> Config:
        """For tests: a random language model of width 32 whose output layer learns too, sentences as bags of words."""
        return cls(base="toy:32:prc_emo+meld7", precision="float32", template="plain", rank=8, alpha=16,
                   lora_dropout=0.0, learn_head=True, context=400, prompt="prc_emo/short", window=1, turns="past",
                   demonstrations=1, encoder="ngrams:1,width=48,buckets=512,length=32,unit=word", noise=0.0,
                   checkpointing=False)  # fmt: skip


_Config = Config  # the class below has an attribute of that name


class PrcEmo(GenerativeSystem):
    """The classifier; see the module text."""

    card = CARD
    Config = Config
    config: _Config
    generative: ClassVar[bool] = False  # it chooses among labels
    select = "weighted_f1"
    overfit = (60, 1e-2, 0.5)

    def __init__(self, config: _Config) -> None:
        super().__init__(config)
        c, tokenizer, template = config, self.processor.tokenizer, self.processor.template
        self.ask = dp.DialoguePrompt(c.prompt, c.labels, c.window, c.turns, c.interpretations, c.characters,
                                  c.demonstrations)  # fmt: skip
        asked = self.ask.messages({"turns": [["A", "Hi."]], "target": 0})
        self.answers = [answer_ids(tokenizer, asked, label, template) for label in c.labels]
        self.matcher = LabelMatcher(c.labels, labels.space(c.space).synonyms, c.matching)
        self.vectors = SentenceVectors(c.encoder)
        self.store = DemonstrationStore.open(c.store, c.encoder) if c.store else None
        if c.noise:
            self.model.get_input_embeddings().register_forward_hook(self._noisy)
        if c.checkpointing:
            self.model.language_model.gradient_checkpointing_enable({"use_reentrant": False})

    def _noisy(self, _module: Any, _given: Any, embedded: Tensor) -> Tensor:
        """Uniform noise of size alpha / sqrt(length · width) on embeddings (B, L, width) in training (NEFTune)."""
        if not self.training:
            return embedded
        size = self.config.noise / (embedded.shape[1] * embedded.shape[2]) ** 0.5
        return embedded + torch.empty_like(embedded).uniform_(-size, size)

    def encoders(self) -> dict[str, Encoder]:
        return {}

    def branches(self) -> dict[str, Branch]:
        return {}

    def inputs(self) -> dict[str, InputSpec]:
        return {"dialogue": dp.AskedTurn()}

    # Prompts

    def complete(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Records with demonstrations and cues where they say nothing of them themselves."""
        found = [dict(record) for record in records]
        texts = [record["turns"][dp.place_of(record)][1] for record in found]
        if self.store is not None and (rows := [i for i, r in enumerate(found) if "demonstrations" not in r]):
            some = [texts[i] for i in rows]
            for i, shown in zip(rows, self.similar(self.vectors(some), some), strict=True):
                found[i]["demonstrations"] = shown
        if self.config.knowledge == "words" and (rows := [i for i, r in enumerate(found) if "explicit" not in r]):
            for i, cue in zip(rows, words_cue([texts[i] for i in rows]), strict=True):
                found[i]["explicit"] = cue
        return found

    def similar(self, vectors: np.ndarray, texts: Sequence[str], own: Any = None) -> list[list[list[Any]]]:
        """Demonstrations of utterances as records take them."""
        c = self.config
        if self.store is None or not c.demonstrations:
            return [[] for _ in texts]
        near = self.store.nearest(vectors, c.demonstrations, c.space, own, texts, c.duplicates)
        return [[[one.text, one.label, one.dataset, one.similarity] for one in shown] for shown in near]

    def messages(self, record: Mapping[str, Any]) -> list[dict[str, str]]:
        """Messages of a record within the token budget; `tally` counts what was left out."""
        tokenizer, template = self.processor.tokenizer, self.processor.template
        room = self.config.context - min(self.config.longest, self.config.context // 2)
        found, note = dp.fitting(self.ask.messages, record, lambda m: len(prompt_ids(tokenizer, m, template)), room)
        if note:
            self.tally[note] += 1
        return found

    # What is learnt and what comes out

    def forward(self, batch: Batch) -> Outputs:
        """See the module text."""
        require(batch, "dialogue")
        asked = self.asked([{"messages": self.messages(record)} for record in self.complete(batch["dialogue"])])
        if self.training and "label" in batch:
            return self._learnt(asked, [self.answers[i] for i in batch["label"].tolist()])
        if self.config.scoring == "likelihood":
            return {"logits": score_answers(self.model, asked, self.answers)}
        matches = [self.matcher.match(text) for text in self.replies(asked)]
        self.tally.update(f"{match.status} answer" for match in matches)
        places = [-1 if match.label is None else self.config.labels.index(match.label) for match in matches]
        return {"answered": torch.tensor(places, device=asked["input_ids"].device)}

    def _learnt(self, asked: Mapping[str, Any], answers: Sequence[Sequence[int]]) -> Outputs:
        ids, mask = padded(answers, self.processor.pad_id, asked["input_ids"].device)
        if self.config.loss_on == "answer":
            tokens = mask.sum(1)
            return {"nll": -log_probabilities(self.model, asked, ids, mask).sum(1) / tokens, "tokens": tokens}
        whole, seen = torch.cat([asked["input_ids"], ids], 1), torch.cat([asked["attention_mask"], mask], 1)
        logits = self.model(input_ids=whole, attention_mask=seen, use_cache=False).logits[:, :-1].float()
        learnt = seen[:, 1:] * seen[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), whole[:, 1:], reduction="none") * learnt
        return {"nll": losses.sum(1) / learnt.sum(1), "tokens": learnt.sum(1)}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """`answer`: mean negative log-likelihood over all learnt tokens of the batch; of the right answers in
        evaluation, 0 where the model wrote."""
        if "nll" in outputs:
            return super().losses(batch, outputs, options)
        if "logits" not in outputs:
            return {"answer": torch.zeros((), device=outputs["answered"].device)}
        right = outputs["logits"].gather(1, batch["label"][:, None])
        return {"answer": -right.sum() / sum(len(self.answers[i]) for i in batch["label"].tolist())}

    def replies(self, asked: Mapping[str, Any]) -> list[str]:
        """What the model writes: anything, or labels alone with `scoring` "constrained"."""
        if self.config.scoring != "constrained":
            return self.texts(asked)
        width, ends = asked["input_ids"].shape[1], self.processor.stops()
        trie = LabelTrie(self.processor.tokenizer, self.config.labels, end=ends)
        with torch.no_grad():
            found = self.model.generate(  # type: ignore[misc]
                **asked, max_new_tokens=self.config.longest, do_sample=False, eos_token_id=ends,
                pad_token_id=self.processor.pad_id, logits_processor=[LabelProcessor(trie, width)],
            )  # fmt: skip
        return self.processor.decode(found[:, width:])

    def decode(self, outputs: Outputs) -> list[Prediction]:
        """Probabilities of all labels; of a written answer 1 for its label, zeros where it is none."""
        if "answered" not in outputs:
            return System.decode(self, outputs)
        rows = np.zeros((len(outputs["answered"]), len(self.labels())), np.float32)
        for row, place in zip(rows, outputs["answered"].tolist(), strict=True):
            row[place if place >= 0 else slice(0)] = 1.0
        return [Prediction(self.space(), self.labels(), row, self.card.perspective) for row in rows]

    def measure(self, outputs: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The usual ones and weighted F1; `unreadable`, the share of written answers that are no label, all wrong."""
        found = super().measure(outputs, targets)
        if "label" in targets and len(truth := targets["label"]):
            guess = outputs["answered"] if "answered" in outputs else outputs["logits"].argmax(1)
            found |= {"weighted_f1": weighted_f1(truth, guess), "accuracy": float((truth == guess).mean())}
            found |= {"unreadable": float((guess < 0).mean())} if "answered" in outputs else {}
        return found

    def phases(self) -> list[Phase]:
        """One epoch on each growing share of the buckets, each with a fresh optimiser, then two on everything; without
        a curriculum four epochs."""
        rest: dict[str, Any] = {"lr": 3e-4, "batch_size": 1, "accumulate": 4, "clip": 0.3, "warmup": 0.03,
                                "weight_decay": 0.0, "final_lr": 0.0, "train": self.learnt()}  # fmt: skip
        n = self.config.buckets
        if not n:
            return [Phase("all", epochs=4, **rest)]
        growing = [Phase(f"buckets 1 to {i}", epochs=1, options={"curriculum": {"bucket": i, "of": n}}, **rest)
                   for i in range(1, n + 1)]  # fmt: skip
        return [*growing, Phase("all", epochs=2, **rest)]

    targets = System.targets  # class numbers, as every classifier

    def prepare(self, corpus: Corpus, column: str) -> None:
        """The rows to learn from become the store, unless the configuration names one."""
        if self.config.demonstrations and not self.config.store:
            self.store = DemonstrationStore.of(demonstrations_of(corpus, column), self.vectors)

    def items(self, corpus: Corpus, column: str) -> dp.UtteranceItems:
        """Utterances with their prompts' content. Turns around them, and labels for the difficulty of conversations,
        are those of the whole corpus; demonstrations those of the store, never the utterance itself."""
        records, whole, rows = dp.corpus_records(corpus, self.config.window)
        hard = corpus_difficulty(whole, column)[rows] if column else np.full(len(corpus), np.nan)
        said = [record["turns"][record["target"]][1] for record in records]
        own = [(corpus.name, talk, name) for talk, name in
               zip(corpus.column("group:dialogue"), corpus.column("id"), strict=True)]  # fmt: skip
        vectors = self.vectors(said)
        told = self._knowledge(corpus.column("id"), said)
        for record, shown, known in zip(records, self.similar(vectors, said, own), told, strict=True):
            record |= {"demonstrations": shown, **known}
        wanted = self.targets(corpus, column)["label"] if column else np.full(len(corpus), -1, np.int64)
        return dp.UtteranceItems(corpus.column("id"), records, wanted, vectors, hard)

    def _knowledge(self, ids: Sequence[str], texts: Sequence[str]) -> list[dict[str, str]]:
        source = self.config.knowledge
        if source == "words":
            return [{"explicit": cue} for cue in words_cue(texts)]
        known = read_interpretations(source) if source else {}
        self.tally["utterances without interpretation"] += sum(name not in known for name in ids) if source else 0
        return [known.get(name, {}) for name in ids]

    @torch.no_grad()
    def follow(self, turns: Sequence[Turn | str], size: int = 8) -> list[Prediction]:
        """A prediction for every turn of a conversation, `size` prompts at a time."""
        told = dp.spoken(turns)
        records = [{"turns": told, "target": i} for i in range(len(told))]
        self.eval()
        return [found for start in range(0, len(records), size)
                for found in self.decode(self({"dialogue": records[start : start + size]}))]  # fmt: skip

    def example(self, count: int, seed: int = 0) -> Batch:
        """Utterances of drawn conversations with a demonstration of the same emotion."""
        random, names = np.random.default_rng(seed), self.labels()
        known = labels.space(self.space())
        order = [known.lookup(e) if e in known else names[i % len(names)] for i, e in enumerate(EMOTIONS)]
        records, wanted, hard = [], [], []
        for i in range(count):
            talk, emotions = conversation(f"talk{i}", random, 4)
            target = int(random.integers(4))
            label = order[EMOTIONS.index(emotions[target])]
            shown = [sentence(emotions[target], random), label, "synthetic", 0.9]
            records.append(
                {"turns": dp.spoken(talk.turns), "target": target, "explicit": "", "demonstrations": [shown]}
            )
            wanted.append(names.index(label))
            told = [order[EMOTIONS.index(emotion)] for emotion in emotions]
            hard.append(dialogue_difficulty(told, [turn.speaker for turn in talk.turns], self.space()))
        return {"dialogue": records, "label": torch.tensor(wanted), "difficulty": torch.tensor(hard)}

    # What is stored

    def save(self, folder: str | Path) -> Path:
        """As every generative system, and the store in `store/` unless it lies elsewhere."""
        folder = super().save(folder)
        if self.store is not None and not self.config.store:
            self.store.write(folder / "store")
        return folder

    def load_weights(self, folder: str | Path) -> Self:
        """As every generative system; the store is opened for the encoder of the configuration, or refused."""
        if (Path(folder) / "store").is_dir():
            self.store = DemonstrationStore.open(Path(folder) / "store", self.config.encoder)
        return super().load_weights(folder)


STAGES = {"finetune": PrcEmo}

"""Systems that answer in words: a multimodal language model behind the interface of every other system.

    class Mine(GenerativeSystem):
        def encoders(self) -> dict[str, Encoder]: ...      # what turns media into tokens, by batch key
        def branches(self) -> dict[str, Branch]: ...       # connectors into the language model
        def inputs(self) -> dict[str, InputSpec]: ...      # `text` is the subtitle, all other keys are encoders

A batch holds media tensors (B, T, ...) by the name of their encoder, `text` (list of subtitles), and to learn from
`record`: a list of what is known about each clip (`affectus.lm.instructions`). `kind`, a list, says what is asked of
each (by default `config.kind`); `augment` draws kinds by the option `mix` of a phase.

With records (or with `answer`, a list of texts) `forward` gives `nll` (B,), the mean negative log-likelihood of the
tokens of each answer, and `tokens` (B,); without them it generates: `texts`, a list. `decode` turns texts into word
lists: a `Prediction` in the space "open words" whose labels are the words of the answer, each with score 1.

What is stored is what the system adds to its base: connectors, adapters, opened parts. The base is named in the
configuration and checked on loading.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from affectus.corpora import Corpus
from affectus.errors import ConfigError, ModelError
from affectus.lm.adapters import ALL_LINEAR, lora_settings
from affectus.lm.bases import load_base
from affectus.lm.budget import TokenBudget
from affectus.lm.chassis import AffectiveLM
from affectus.lm.chat import answer_ids
from affectus.lm.completions import inspect
from affectus.lm.config import AffectiveLMConfig, Branch, Encoder, vocabulary_digest
from affectus.lm.drawing import draw, log_probabilities
from affectus.lm.extraction import answer_words
from affectus.lm.instructions import KINDS, build_instruction, possible_kinds, question, records_of
from affectus.lm.processor import Processor
from affectus.lm.prompts import load_prompt
from affectus.systems.base import Batch, Outputs, System
from affectus.types import Prediction

#: Space of word lists without a closed set of labels.
OPEN_WORDS = "open words"
#: What of a record belongs to the question and may be seen when it is answered.
ASKING = ("question", "history", "labels", "low", "high", "first", "second")


@dataclass(frozen=True)
class LanguageBase:
    """The language model of a system, how it is adapted and how it answers.

    `base` is a hub id or folder of `transformers`, "packaged" (the small model of the library), "toy:32" (random, of
    that width) or "toy:32:words" (its tokenizer knows that group of prompts). `rank` 0 is no adapter; `learn_head`
    opens the output layer beside it, `adapted` names the layers. `template` is a chat template of `affectus.lm.chat`,
    `kind` what is asked where a batch does not say. Answers have at most `longest` tokens, prompts with them `context`;
    `temperature` 0 takes the likeliest token, otherwise one is drawn from the share `top_p`.
    """

    base: str = "Qwen/Qwen2.5-7B-Instruct"
    precision: str = "bfloat16"
    template: str = "auto"
    rank: int = 16
    alpha: float = 32.0
    lora_dropout: float = 0.05
    adapted: tuple[str, ...] = ALL_LINEAR
    learn_head: bool = False
    kind: str = "ovlabel"
    context: int = 2048
    longest: int = 256
    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind}: one of {', '.join(KINDS)} is needed")


@dataclass(frozen=True)
class Answer:
    """A generated text, its emotion words, and whether it is ok, empty or looping."""

    text: str
    words: tuple[str, ...]
    state: str


class GenerativeSystem(System):
    """See the module text. `prompts` names prompt files that a system asks with in place of the usual ones, by kind;
    `tally` counts answers by state and prompts that went without a branch."""

    select = "-loss"
    generative: ClassVar[bool] = True
    prompts: ClassVar[Mapping[str, str]] = {}
    config: Any

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model, self.processor = self.assemble()
        self.tally: Counter[str] = Counter()
        self.register_state_dict_post_hook(_only_own)
        self.register_load_state_dict_post_hook(_forgive_base)

    def assemble(self) -> tuple[Any, Processor]:
        """The multimodal model on its base, and what prepares its batches."""
        config = self.config
        language_model, tokenizer = load_base(config.base, config.precision)
        settings = AffectiveLMConfig(
            config.base, encoders=self.encoders(), branches=self.branches(), experts=self.experts(), **self.adaptation()
        )
        model = AffectiveLM.build(settings, language_model, tokenizer, self.modules_of())
        return model, Processor(tokenizer, model, config.template, self.budget())

    def budget(self) -> TokenBudget:
        """What a prompt with its answer may hold."""
        return TokenBudget(self.config.context, min(self.config.longest, self.config.context // 2))

    @abstractmethod
    def encoders(self) -> dict[str, Encoder]:
        """Encoders by batch key."""

    @abstractmethod
    def branches(self) -> dict[str, Branch]:
        """Branches by name."""

    def modules_of(self) -> dict[str, nn.Module]:
        """Ready modules of encoders that cannot be loaded by their source alone."""
        return {}

    def experts(self) -> dict[str, Any] | None:
        """Settings of experts per modality in the language model (`affectus.lm.modality_experts`), None without."""
        return None

    def adaptation(self) -> dict[str, Any]:
        """How the language model is adapted: settings `lora`, or `train_base` where all of it may learn."""
        c = self.config
        saved = ("lm_head",) if c.learn_head else ()
        return {"lora": lora_settings(c.rank, c.alpha, c.lora_dropout, c.adapted, saved) if c.rank else None}

    def learnt(self) -> tuple[str, ...]:
        """Patterns of the parameters that are not part of the frozen base, for `Phase.train`."""
        patterns = (r"model\.connectors\.", r".*\.lora_", r".*\.modules_to_save\.")
        names = [name for name, _ in self.named_parameters()]
        return tuple(p for p in patterns if any(_matches(p, name) for name in names))

    # What is asked

    def kinds(self, batch: Batch) -> list[str]:
        """What is asked of every item: `kind` of the batch, else what the configuration says or the record allows."""
        if "kind" in batch:
            return list(batch["kind"])
        records = batch.get("record")
        if records is None:
            return [self.config.kind] * size_of(batch)
        return [self.config.kind if possible_kinds(r, [self.config.kind]) else (possible_kinds(r) or [""])[0]
                for r in records]  # fmt: skip

    def augment(self, batch: Batch, options: Mapping[str, Any]) -> Batch:
        """Draw what is asked of every record by the shares of the option `mix` (kind → share)."""
        if not (mix := options.get("mix")) or "record" not in batch:
            return batch
        drawn = []
        for record in batch["record"]:
            kinds = possible_kinds(record, [k for k, share in mix.items() if share > 0])
            if not kinds:
                raise ConfigError(f"record {record.get('name', '')}", f"fits no kind of the mix {', '.join(mix)}")
            shares = torch.tensor([float(mix[k]) for k in kinds])
            drawn.append(kinds[int(torch.multinomial(shares, 1))])
        return batch | {"kind": drawn}

    def media(self, batch: Batch) -> dict[str, Tensor]:
        """Media of a batch by encoder; ConfigError when there is neither media nor text."""
        found = {name: batch[name] for name in self.model.config.encoders if batch.get(name) is not None}
        if not found and batch.get("text") is None:
            keys = ", ".join(self.inputs())
            raise ConfigError(keys, "are all missing from the batch", "give at least one of them")
        return found

    def conversations(self, batch: Batch, kinds: Sequence[str]) -> list[dict[str, Any]]:
        """Messages, media and (where the batch has records) answer of every item, as the processor takes them; media
        that begin with NaN are not there."""
        media = self.media(batch)
        absent = {name: values.flatten(1)[:, 0].isnan().tolist() for name, values in media.items()}
        told: dict[str, int] = {}
        texts = batch.get("text") or [None] * len(kinds)
        records = batch.get("record") or batch.get("asking") or [{}] * len(kinds)
        found = []
        for i, kind in enumerate(kinds):
            record = {**records[i], "subtitle": texts[i] if "text" in self.inputs() else None, **self.told(batch, i)}
            prompt = load_prompt(self.prompts[kind]) if kind in self.prompts else None
            own = {name: values[i] for name, values in media.items() if not absent[name][i]}
            slots, notes = self.processor.slots(own, self.branch_names(own))
            told |= dict.fromkeys(notes, 1)
            item: dict[str, Any] = {"media": own}
            if "record" in batch:
                made = build_instruction(record, kind, slots, prompt)
                item |= {"messages": made.messages, "answer": made.answer}
            else:
                item["messages"] = question(record, kind, slots, prompt)
            found.append(item)
        self.tally.update(told)
        return found

    def told(self, batch: Batch, row: int) -> dict[str, Any]:
        """What a prompt says about an item beside its media, its subtitle and what the record allows to tell."""
        return {}

    def branch_names(self, media: Mapping[str, Tensor]) -> list[str]:
        """Branches that are used for these media, in the order of the prompt; one per slot."""
        return list(self.model.config.branch_names)

    def asked(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Tensors of the prompts of conversations, left-padded, on the device of the system."""
        prompts = [{k: v for k, v in item.items() if k != "answer"} for item in items]
        device = next(self.parameters()).device
        return self.processor.asking(self.processor.encode(prompts), device)

    # What comes out

    def forward(self, batch: Batch) -> Outputs:
        """See the module text."""
        kinds = self.kinds(batch)
        items = self.conversations(batch, kinds)
        answers = batch.get("answer") or [item.get("answer") for item in items]
        if answers[0] is None:
            return {"texts": self.texts(self.asked(items))}  # type: ignore[dict-item]
        tokenizer, template = self.processor.tokenizer, self.processor.template
        rows = [answer_ids(tokenizer, item["messages"], answer, template)
                for item, answer in zip(items, answers, strict=True)]  # fmt: skip
        asked = self.asked(items)
        ids, mask = padded(rows, self.processor.pad_id, asked["input_ids"].device)
        tokens = mask.sum(1)
        return {"nll": -log_probabilities(self.model, asked, ids, mask).sum(1) / tokens, "tokens": tokens}

    def losses(self, batch: Batch, outputs: Outputs, options: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
        """`answer`: mean negative log-likelihood over all answer tokens of the batch."""
        if "nll" not in outputs:
            raise ConfigError("batch", "has no answers to learn from", "give record or answer")
        tokens = outputs["tokens"]
        return {"answer": (outputs["nll"] * tokens).sum() / tokens.sum()}

    def sample(
        self, asked: Mapping[str, Any], longest: int = 0, temperature: float | None = None, group: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Token ids (B * group, L) that follow prompts, `group` in a row per prompt, and which of them were generated
        (B * group, L), the end token among them; see `LanguageBase` for the options."""
        heat = self.config.temperature if temperature is None else temperature
        options: dict[str, Any] = {"do_sample": heat > 0}
        if heat > 0:
            options |= {"temperature": heat, "top_p": self.config.top_p, "top_k": 0}
        stop, ends = self.processor.template.stop.strip(), self.processor.stops()
        if stop and len(ends) < 2:
            options |= {"stop_strings": [stop], "tokenizer": self.processor.tokenizer}
        # Padding must differ from what ends an answer, or nobody could tell whether it ended.
        pad = next(i for i in (self.processor.pad_id, *range(len(ends) + 1)) if i not in ends)
        options |= {"max_new_tokens": longest or self.config.longest, "eos_token_id": ends, "pad_token_id": pad}
        ids = draw(self.model, asked, group, **options)
        return ids, (ids != pad).flip(1).cumsum(1).flip(1).clamp(max=1)

    def texts(self, asked: Mapping[str, Any]) -> list[str]:
        """Generated answers of prompts."""
        texts = self.processor.decode(self.sample(asked)[0])
        self.tally.update(f"{inspect(text).state} answer" for text in texts)
        return texts

    def answer(self, batch: Batch, kind: str | Sequence[str] = "") -> list[Answer]:
        """Answers to a question of some kind about every item; what the batch knows of the truth is not looked at."""
        asked: Batch = {k: v for k, v in batch.items() if k not in ("record", "answer", "kind")}
        asked["asking"] = [{k: r[k] for k in ASKING if k in r} for r in batch.get("record") or [{}] * size_of(batch)]
        if kind:
            asked["kind"] = [kind] * size_of(batch) if isinstance(kind, str) else list(kind)
        was = self.training
        self.eval()
        texts: Any = self(asked)["texts"]
        self.train(was)
        return [Answer(text, answer_words(text).words, inspect(text).state) for text in texts]

    def decode(self, outputs: Outputs) -> list[Prediction]:
        """Word lists of the generated texts, possibly empty ones; ModelError when nothing was generated."""
        if "texts" not in outputs:
            raise ModelError(
                self.card.name, "these outputs hold no generated text", "leave record and answer out of the batch"
            )
        lists = [answer_words(str(text)).words for text in outputs["texts"]]
        return [Prediction(OPEN_WORDS, words, np.ones(len(words), np.float32), self.card.perspective)
                for words in lists]  # fmt: skip

    def targets(self, corpus: Corpus, column: str) -> dict[str, np.ndarray]:
        """`record` of every row that has the column, None for the others."""
        if column not in corpus.table.column_names:
            raise ConfigError(column, "is no column of this corpus", f"it has {', '.join(corpus.table.column_names)}")
        records = records_of(corpus, column if column.startswith("labels:") else "labels:openset")
        found = np.full(len(corpus), None, object)
        for i, (record, value) in enumerate(zip(records, corpus.column(column), strict=True)):
            found[i] = record if value is not None and possible_kinds(record) else None
        return {"record": found}

    # What is stored

    def save(self, folder: str | Path) -> Path:
        """As every system, and `base.json`: what the base must be like."""
        folder = super().save(folder)
        base = self.model.config.text_config
        record = {name: getattr(base, name, None) for name in _FITTING}
        record["vocabulary"] = vocabulary_digest(self.processor.tokenizer)
        (folder / "base.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        return folder

    def load_weights(self, folder: str | Path) -> Self:
        """As every system; ModelError when the base has another size or tokenizer than that of the saved system."""
        path = Path(folder) / "base.json"
        if path.is_file():
            saved = json.loads(path.read_text(encoding="utf-8"))
            base = self.model.config.text_config
            for name in _FITTING:
                if saved[name] != (own := getattr(base, name, None)):
                    raise ModelError(folder, f"was trained on a base with {name} {saved[name]}, this one has {own}")
            if saved["vocabulary"] != vocabulary_digest(self.processor.tokenizer):
                raise ModelError(folder, "was trained with another tokenizer", "give its own base")
        return super().load_weights(folder)


_FITTING = ("model_type", "hidden_size", "num_hidden_layers", "vocab_size")


def padded(rows: Sequence[Sequence[int]], pad: int, device: Any = None) -> tuple[Tensor, Tensor]:
    """Token ids (B, L) padded on the right, and their mask (B, L) of 0 and 1."""
    width = max(1, *(len(row) for row in rows)) if rows else 1
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], dtype=torch.long, device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device).unsqueeze(1)
    return ids, (torch.arange(width, device=device) < lengths).long()


def size_of(batch: Batch) -> int:
    """Number of items of a batch."""
    return len(next(iter(batch.values())))


def _matches(pattern: str, name: str) -> bool:
    return re.match(pattern, name) is not None


def _only_own(module: Any, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    """Leave the weights of base and frozen encoders out of a state dict."""
    kept = {f"{prefix}model.{name}" for name in module.model.saved_names()}
    for name in [n for n in state if n.startswith(f"{prefix}model.") and n not in kept]:
        del state[name]


def _forgive_base(module: Any, incompatible: Any) -> None:
    """Weights of the base are not missed in a state dict that never holds them."""
    own = set(module.state_dict())
    incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if name in own]

"""Text encoders as a plug: any BERT-like model of the `transformers` package, a small random one, or n-grams.

A source is one string, so that it fits in a config file:
- `minilm-l6`: the packaged English sentence encoder;
- a folder or a model id: what `transformers` can read there (safetensors only, no code from it);
- `new:roberta,width=768,layers=12,heads=12,…`: random weights of these sizes, with the tokenizer of `tokenizer=`, or
  one that hashes whole words where there is none;
- `ngrams:1-3,width=16,…`: hashed n-grams of characters (`unit=word`: of words), which need no tokenizer and suit any
  script.

Batches hold ids padded on the right. What is padded is cut to the longest text of the batch and masked in attention, so
neither batch mates nor padding change a result.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from affectus import assets
from affectus.errors import AssetError, ConfigError, ModelError
from affectus.features.inputs import InputSpec, TextInput
from affectus.features.ngrams import NgramInput
from affectus.features.word_pieces import Style, style_of, word_numbers, word_texts

Pooling = Literal["mean", "cls"]
_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
#: Sizes that `new:` takes, and their defaults.
_SIZES: dict[str, float] = {
    "width": 64, "layers": 2, "heads": 2, "inner": 0, "vocabulary": 2048, "positions": 0, "eps": 1e-12, "types": 0,
    "dropout": 0.1,
}  # fmt: skip
_NGRAM_SIZES = {"width": 16, "buckets": 1 << 15, "length": 512}


class Tokens(Protocol):
    """What a tokenizer gives: ids with special tokens around them, and which pieces make a word."""

    @property
    def pad(self) -> int:
        """Id of padding."""

    @property
    def mask(self) -> int:
        """Id that stands for a hidden word; -1 where there is none."""

    @property
    def size(self) -> int:
        """Number of ids."""

    def encode(self, text: str, length: int) -> list[int]:
        """Ids of a text, cut to `length` with its end token kept."""

    def words(self, text: str, length: int) -> tuple[list[int], list[str]]:
        """Word number of each id that `encode` gives (-1 for special tokens), and the words."""


@dataclass(frozen=True)
class HashTokens:
    """Whole words by hash, for random encoders: start token, words, end token. Two words may share an id."""

    size: int
    pad: int = 0
    mask: int = 3

    @property
    def start(self) -> int:
        """Id of the start token; 2 is the end token."""
        return 1 - self.pad

    def encode(self, text: str, length: int) -> list[int]:
        """As `Tokens.encode`."""
        ids = [4 + zlib.crc32(w.encode("utf-8")) % (self.size - 4) for w in _WORD.findall(text.lower())]
        return [self.start, *ids[: length - 2], 2]

    def words(self, text: str, length: int) -> tuple[list[int], list[str]]:
        """As `Tokens.words`."""
        words = _WORD.findall(text.lower())[: length - 2]
        return [-1, *range(len(words)), -1], words


class PretrainedTokens:
    """A tokenizer that `transformers` can read from a folder or a model id. Raises ModelError."""

    def __init__(self, source: str) -> None:
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(locate(source))
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ModelError(source, f"holds no tokenizer ({reason})", "give a folder with tokenizer.json") from error
        self.size = len(self._tokenizer)
        if self._tokenizer.pad_token_id is None:
            raise ModelError(source, "its tokenizer has no padding token", "set pad_token in tokenizer_config.json")
        self.pad = int(self._tokenizer.pad_token_id)
        self.mask = int(self._tokenizer.mask_token_id) if self._tokenizer.mask_token_id is not None else -1
        self._special = frozenset(self._tokenizer.all_special_tokens)

    @cached_property
    def style(self) -> Style:
        """How its pieces are marked."""
        return style_of(self._tokenizer.get_vocab())

    def encode(self, text: str, length: int) -> list[int]:
        """As `Tokens.encode`."""
        return list(self._tokenizer(text, truncation=True, max_length=length)["input_ids"])

    def words(self, text: str, length: int) -> tuple[list[int], list[str]]:
        """As `Tokens.words`; the unknown token is a word of its own."""
        pieces = self._tokenizer.convert_ids_to_tokens(self.encode(text, length))
        unknown = self._tokenizer.unk_token
        numbers = word_numbers(pieces, self._special - {unknown}, self.style)
        return numbers.tolist(), word_texts(pieces, numbers, self.style)


class TextEncoder(nn.Module):
    """A BERT-like network without its pooler, with its tokenizer: ids → one vector per token."""

    def __init__(self, net: nn.Module, width: int, pad: int, tokenizer: str | HashTokens) -> None:
        super().__init__()
        self.net, self.width, self.pad = net, width, pad
        self._tokenizer = tokenizer

    @property
    def tokens(self) -> Tokens:
        """Its tokenizer, read when first asked for. Raises ModelError."""
        return read_tokens(self._tokenizer) if isinstance(self._tokenizer, str) else self._tokenizer

    @property
    def table(self) -> nn.Embedding:
        """Word embeddings (vocabulary, width)."""
        return self.net.get_input_embeddings()  # type: ignore[operator, return-value]

    def spec(self, length: int) -> TextInput:
        """Input specification of its ids."""
        tokens = self.tokens
        return TextInput(TokenIds(tokens, length), length, tokens.pad)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ids (B, L) → states (B, l, width) and mask (B, l), True on text; l is the longest text of the batch."""
        mask = ids != self.pad
        longest = max(1, int(mask.sum(1).max()))
        ids, mask = ids[:, :longest], mask[:, :longest]
        return self.net(input_ids=ids, attention_mask=mask.long()).last_hidden_state, mask


@dataclass(frozen=True)
class TokenIds:
    """Text → ids of at most `length` tokens; the `encode` of a `TextInput`."""

    tokens: Tokens
    length: int

    def __call__(self, text: str) -> list[int]:
        return self.tokens.encode(text, self.length)


class NgramEncoder(nn.Module):
    """Sum of learnt vectors of the n-grams of a text over the square root of their number: ids (B, L) → (B, width).

    With a linear head this is a linear model over n-grams (Joulin et al., "Bag of Tricks", 2017).
    """

    def __init__(self, spec: NgramInput, width: int) -> None:
        super().__init__()
        self.input, self.width = spec, width
        self.table = nn.Embedding(spec.buckets, width, padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.01)
        with torch.no_grad():
            self.table.weight[0] = 0

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, width); a text without n-grams gives zeros."""
        count = (ids != 0).sum(1, keepdim=True).clamp(min=1)
        longest = max(1, int(count.max()))
        return self.table(ids[:, :longest]).sum(1) / count.sqrt()


class SentenceEncoder(nn.Module):
    """Ids of a text → one vector, whatever the source: `pooling` "mean" over its tokens, or "cls", the first one."""

    def __init__(self, source: str, pooling: Pooling = "mean", length: int = 128, dropout: float | None = None) -> None:
        super().__init__()
        self.pooling, self.length = pooling, length
        self.body: TextEncoder | NgramEncoder = (
            ngram_encoder(source) if source.startswith("ngrams:") else text_encoder(source, dropout)
        )
        self.width = self.body.width

    def spec(self) -> InputSpec:
        """Input specification of its ids."""
        return self.body.input if isinstance(self.body, NgramEncoder) else self.body.spec(self.length)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L) → (B, width)."""
        if isinstance(self.body, NgramEncoder):
            return self.body(ids)
        states, mask = self.body(ids)
        return pool(states, mask, self.pooling)


class MaskedWordHead(nn.Module):
    """Masked-word scores from token states: dense, GELU, normalisation, product with the word embeddings, bias."""

    def __init__(self, table: nn.Embedding, eps: float = 1e-12) -> None:
        super().__init__()
        size, width = table.weight.shape
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, states: Tensor, table: nn.Embedding) -> Tensor:
        """(…, width) → (…, vocabulary)."""
        hidden = self.norm(nn.functional.gelu(self.dense(states)))
        return nn.functional.linear(hidden, table.weight, self.bias)


def pool(states: Tensor, mask: Tensor, how: Pooling = "mean") -> Tensor:
    """One vector per text: states (B, L, D) and mask (B, L) → (B, D)."""
    if how == "cls":
        return states[:, 0]
    if how != "mean":
        raise ConfigError(how, "is no way of pooling", "use mean or cls")
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1).clamp(min=1)


def text_encoder(source: str, dropout: float | None = None) -> TextEncoder:
    """The encoder of a source (see above); `dropout` replaces that of its config. Raises ConfigError or ModelError."""
    if source.startswith("ngrams:"):
        raise ConfigError(source, "has no states per token", "name a folder, a model id, or new:…")
    return _new(source, dropout) if source.startswith("new:") else _pretrained(source, dropout)


def ngram_encoder(source: str) -> NgramEncoder:
    """The encoder of `ngrams:1-3,width=16,buckets=32768,length=512,unit=character`. Raises ConfigError."""
    head, options = _options(source)
    if not (span := re.fullmatch(r"(\d+)(?:-(\d+))?", head)):
        raise ConfigError(source, "does not say which sizes", "write ngrams:1-3")
    unit = options.pop("unit", "character")
    if unit not in ("character", "word"):
        raise ConfigError(source, f"unit {unit} is not known", "use character or word")
    sizes = {name: int(value) for name, value in _numbers(source, options, _NGRAM_SIZES).items()}
    span_of = tuple(range(int(span[1]), int(span[2] or span[1]) + 1))
    kind: Literal["character", "word"] = "character" if unit == "character" else "word"
    return NgramEncoder(NgramInput(span_of, sizes["buckets"], sizes["length"], kind), sizes["width"])


def locate(source: str) -> str:
    """Where to read a source: the folder of a packaged model, else the source itself (a folder or a model id)."""
    if Path(source).is_dir() or "/" in source:
        return source
    try:
        return str(assets.resolve(source))
    except AssetError:
        return source


@lru_cache(maxsize=8)
def read_tokens(source: str) -> PretrainedTokens:
    """Tokenizer of a source, kept once read."""
    return PretrainedTokens(source)


def _new(source: str, dropout: float | None) -> TextEncoder:
    from transformers import AutoConfig, AutoModel

    kind, options = _options(source)
    if kind not in ("bert", "roberta"):
        raise ConfigError(source, f"kind {kind!r} is not known", "use new:bert,… or new:roberta,…")
    tokenizer = options.pop("tokenizer", "")
    sizes = _numbers(source, options, _SIZES)
    width, vocabulary = int(sizes["width"]), int(sizes["vocabulary"])
    pad = 1 if kind == "roberta" else 0
    rate = sizes["dropout"] if dropout is None else dropout
    config = AutoConfig.for_model(
        kind, vocab_size=vocabulary, hidden_size=width, num_hidden_layers=int(sizes["layers"]),
        num_attention_heads=int(sizes["heads"]), intermediate_size=int(sizes["inner"] or 4 * width),
        max_position_embeddings=int(sizes["positions"] or 514), layer_norm_eps=sizes["eps"], pad_token_id=pad,
        type_vocab_size=int(sizes["types"] or (1 if kind == "roberta" else 2)), hidden_dropout_prob=rate,
        attention_probs_dropout_prob=rate,
    )  # fmt: skip
    net = AutoModel.from_config(config, attn_implementation="sdpa")
    return TextEncoder(_without_pooler(net), width, pad, tokenizer or HashTokens(vocabulary, pad))


def _pretrained(source: str, dropout: float | None) -> TextEncoder:
    from transformers import AutoConfig, AutoModel

    place = locate(source)
    try:
        config = AutoConfig.from_pretrained(place)
        if dropout is not None:
            for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
                setattr(config, name, dropout)
        net = AutoModel.from_pretrained(place, config=config, use_safetensors=True, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        remedy = "give a folder with config.json and model.safetensors, or the id of a model"
        raise ModelError(source, f"is no readable text encoder ({reason})", remedy) from error
    return TextEncoder(_without_pooler(net), config.hidden_size, int(config.pad_token_id or 0), source)


def _without_pooler(net: Any) -> nn.Module:
    """The pooler is not used here, and its weights would learn nothing."""
    if getattr(net, "pooler", None) is not None:
        net.pooler = None
    return net


def _options(source: str) -> tuple[str, dict[str, str]]:
    head, *rest = source.partition(":")[2].split(",")
    pairs = [part.partition("=") for part in rest]
    if bad := [name for name, sign, _ in pairs if not sign]:
        raise ConfigError(source, f"{bad[0]!r} is no setting", "write name=value, separated by commas")
    return head, {name: value for name, _, value in pairs}


def _numbers(source: str, options: Mapping[str, str], known: Mapping[str, float]) -> dict[str, float]:
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(source, f"unknown settings {', '.join(unknown)}", f"known are {', '.join(known)}")
    try:
        return {**known, **{name: float(value) for name, value in options.items()}}
    except ValueError as error:
        raise ConfigError(source, str(error)) from error

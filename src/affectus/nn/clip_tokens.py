"""CLIP's byte-level BPE: texts → token ids, from a vocabulary file that the user (or the asset resolver) gives.

Sennrich et al., ACL 2016, as used by Radford et al., ICML 2021: lower-cased text, words end in `</w>`, a start and an
end token whose ids are the two highest. Broken Unicode is not repaired beforehand as OpenAI's code does.
"""

from __future__ import annotations

import gzip
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from affectus import assets
from affectus.errors import ConfigError

START, END = "<|startoftext|>", "<|endoftext|>"
#: Merges of OpenAI's file that its vocabulary of 49408 tokens uses.
_OPENAI_MERGES = 49152 - 256 - 2
#: Tokens of `ClipTokenizer.of_bytes`: each byte, each byte that ends a word, start and end.
BYTES = 514
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


class ClipTokenizer:
    """Texts → ids padded with zeros; `encoder` is a `tokenizers.Tokenizer` that knows the start and end token."""

    def __init__(self, encoder: Any) -> None:
        self._encoder = encoder
        ids = encoder.token_to_id(START), encoder.token_to_id(END)
        if None in ids:
            raise ConfigError("tokenizer", f"has no {START} or no {END} token", "give the tokenizer of a CLIP model")
        self.start, self.end = ids
        self.vocabulary: int = encoder.get_vocab_size()

    @classmethod
    def from_file(cls, path: str | Path) -> ClipTokenizer:
        """From `tokenizer.json`, `vocab.json` + `merges.txt`, OpenAI's `bpe_simple_vocab_16e6.txt.gz`, or a folder that
        holds one of them. Raises ConfigError."""
        from tokenizers import Tokenizer

        path = Path(path)
        for candidate in (path / n for n in ("tokenizer.json", "vocab.json", "bpe_simple_vocab_16e6.txt.gz")):
            if path.is_dir() and candidate.is_file():
                path = candidate
        try:
            if path.name.endswith(".gz"):
                lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
                pairs = [(line.split()[0], line.split()[1]) for line in lines[1 : 1 + _OPENAI_MERGES] if line.strip()]
                if not pairs:
                    raise ValueError("no merges")
                return cls(_byte_pairs(pairs))
            if path.name == "vocab.json":
                lines = (path.parent / "merges.txt").read_text(encoding="utf-8").split("\n")
                pairs = [
                    (line.split()[0], line.split()[1]) for line in lines if line.strip() and line[0:9] != "#version:"
                ]
                return cls(_byte_pairs(pairs, json.loads(path.read_text(encoding="utf-8"))))
            return cls(Tokenizer.from_str(path.read_text(encoding="utf-8")))
        except ConfigError:
            raise
        except Exception as error:  # the tokenizers package raises bare exceptions
            reason = "is no CLIP tokenizer file" if path.is_file() else "holds no CLIP tokenizer"
            raise ConfigError(
                path, reason, "give tokenizer.json, vocab.json with merges.txt, or the .txt.gz"
            ) from error

    @classmethod
    def of_bytes(cls) -> ClipTokenizer:
        """Every byte a token (514 tokens): needs no file, for tests and random towers."""
        return cls(_byte_pairs([]))

    def encode(self, text: str) -> list[int]:
        """Ids of a text between the start and the end token."""
        cleaned = " ".join(html.unescape(html.unescape(text)).split()).lower()
        return [self.start, *self._encoder.encode(cleaned, add_special_tokens=False).ids, self.end]

    def __call__(self, texts: Sequence[str], length: int = 77, cut: bool = False) -> Tensor:
        """Ids (texts, length) int64. A longer text is cut before its end token when `cut`, else ConfigError."""
        rows = torch.zeros(len(texts), length, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            ids = self.encode(text)
            if len(ids) > length and not cut:
                raise ConfigError(repr(text[:40]), f"has {len(ids)} tokens; {length} fit", "shorten it")
            ids = [*ids[: length - 1], self.end] if len(ids) > length else ids
            row[: len(ids)] = torch.tensor(ids)
        return rows


def clip_tokenizer(source: str, vocabulary: int) -> ClipTokenizer:
    """The tokenizer of a text tower with that many tokens: from the file or folder `source`, or else CLIP's own
    vocabulary (an asset), or bytes for a tower of 514 tokens. Raises ConfigError when it does not belong to the tower.
    """
    if source:
        found = ClipTokenizer.from_file(source)
    elif vocabulary == BYTES:
        found = ClipTokenizer.of_bytes()
    else:
        found = ClipTokenizer.from_file(assets.resolve("clip-vocabulary"))
    if found.vocabulary != vocabulary:
        raise ConfigError(source or "tokenizer", f"has {found.vocabulary} tokens, the text tower {vocabulary}",
                          "give the tokenizer of the tower")  # fmt: skip
    return found


def byte_characters() -> list[str]:
    """The printable character that stands for each byte, in vocabulary order: printable Latin-1 bytes stand for
    themselves and come first, the others take the characters from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def _byte_pairs(pairs: Sequence[tuple[str, str]], vocabulary: dict[str, int] | None = None) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

    if vocabulary is None:
        single = byte_characters()
        tokens = [*single, *(c + "</w>" for c in single), *(a + b for a, b in pairs), START, END]
        vocabulary = {token: i for i, token in enumerate(tokens)}
    encoder = Tokenizer(models.BPE(vocabulary, list(pairs), end_of_word_suffix="</w>"))
    encoder.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    encoder.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    encoder.add_special_tokens([AddedToken(START, normalized=False), AddedToken(END, normalized=False)])
    return encoder

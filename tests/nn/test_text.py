"""Text encoders: sources, padding, pooling, tokens and words, n-grams, masked-word scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from affectus.errors import ConfigError, ModelError
from affectus.nn.text import (
    HashTokens,
    MaskedWordHead,
    NgramEncoder,
    SentenceEncoder,
    ngram_encoder,
    pool,
    read_tokens,
    text_encoder,
)

TINY = {"bert": "new:bert,width=32,layers=2,heads=2,vocabulary=300,positions=40",
        "roberta": "new:roberta,width=32,layers=2,heads=2,vocabulary=300,positions=40"}  # fmt: skip
TEXTS = ["I am lonely today", "happier than ever!!", "", "unbelievably happy news for everyone here"]


def padded(encoder: SentenceEncoder, texts: list[str], length: int) -> torch.Tensor:
    rows = [encoder.spec()(text) for text in texts]
    pad = encoder.body.pad if not isinstance(encoder.body, NgramEncoder) else 0
    return torch.tensor(np.stack([np.pad(r, (0, max(0, length - len(r))), constant_values=pad) for r in rows]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder with a WordPiece tokenizer trained on a few sentences, as `transformers` writes them."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer, raw.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    raw.train_from_iterator(TEXTS * 3, trainers.WordPieceTrainer(vocab_size=60, special_tokens=special))
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path = tmp_path_factory.mktemp("encoder")
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **names).save_pretrained(path)
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    config = transformers.BertConfig(vocab_size=raw.get_vocab_size(), max_position_embeddings=32, **sizes)
    transformers.BertModel(config).save_pretrained(path)
    return path


@pytest.mark.parametrize("source", [*TINY.values(), "ngrams:1-2,buckets=512,width=8,length=64"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_and_batch_mates_change_nothing(source: str, pooling: str) -> None:
    torch.manual_seed(0)
    encoder = SentenceEncoder(source, pooling, length=16).eval()  # type: ignore[arg-type]
    together = encoder(padded(encoder, TEXTS, 30))
    alone = torch.cat([encoder(padded(encoder, [text], 16)) for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_padding_changes_no_gradient() -> None:
    torch.manual_seed(0)
    encoder = SentenceEncoder(TINY["bert"], length=16).eval()
    grads = []
    for length in (16, 30):
        encoder.zero_grad()
        encoder(padded(encoder, TEXTS, length)).square().sum().backward()
        grads.append(encoder.body.net.embeddings.word_embeddings.weight.grad.clone())  # type: ignore[union-attr]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-5, atol=1e-6)


def test_mean_pooling_is_the_mean_of_what_is_not_padding() -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]])
    mask = torch.tensor([[True, True, False]])
    assert pool(states, mask).tolist() == [[2.0, 3.0]]
    assert pool(states, mask, "cls").tolist() == [[1.0, 2.0]]
    assert pool(states, torch.zeros(1, 3, dtype=torch.bool)).tolist() == [[0.0, 0.0]]


def test_a_folder_gives_encoder_tokens_and_words(folder: Path) -> None:
    encoder = text_encoder(str(folder))
    tokens = encoder.tokens
    ids = tokens.encode("lonely unbelievably", 32)
    numbers, words = tokens.words("lonely unbelievably", 32)
    assert words == ["lonely", "unbelievably"]
    assert numbers[0] == numbers[-1] == -1
    assert len(ids) > 4
    assert [n for n in numbers if n >= 0] == sorted(n for n in numbers if n >= 0)
    assert encoder.spec(12)("lonely").shape == (12,)
    assert not [name for name, _ in encoder.named_parameters() if "pooler" in name]


def test_a_long_text_is_cut_and_keeps_its_end_token(folder: Path) -> None:
    ids = read_tokens(str(folder)).encode(TEXTS[0] * 20, 10)
    assert len(ids) == 10
    assert ids[-1] == read_tokens(str(folder)).encode("", 10)[-1]


def test_hashed_words_have_their_specials_apart_from_the_padding() -> None:
    for pad in (0, 1):
        tokens = HashTokens(100, pad)
        ids = tokens.encode("Happy happy day!", 8)
        assert ids[1] == ids[2]
        assert {ids[0], ids[-1]} & {pad} == set()
        assert min(ids[1:-1]) >= 4
        assert tokens.words("Happy happy day!", 8)[0] == [-1, 0, 1, 2, 3, -1]
        assert len(tokens.encode("a " * 50, 8)) == 8


def test_masked_word_scores_equal_the_reference() -> None:
    modeling = pytest.importorskip("transformers.models.roberta.modeling_roberta")
    torch.manual_seed(0)
    config = modeling.RobertaConfig(vocab_size=50, hidden_size=16, layer_norm_eps=1e-5)
    theirs, table = modeling.RobertaLMHead(config), torch.nn.Embedding(50, 16)
    theirs.decoder.weight = table.weight
    torch.nn.init.normal_(theirs.layer_norm.weight)
    torch.nn.init.normal_(theirs.bias)
    ours = MaskedWordHead(table, 1e-5)
    ours.load_state_dict({"dense.weight": theirs.dense.weight, "dense.bias": theirs.dense.bias, "bias": theirs.bias,
                          "norm.weight": theirs.layer_norm.weight, "norm.bias": theirs.layer_norm.bias})  # fmt: skip
    states = torch.randn(3, 5, 16)
    theirs.decoder.bias = theirs.bias
    torch.testing.assert_close(ours(states, table), theirs(states), rtol=1e-5, atol=1e-5)


def test_ngrams_of_nothing_are_zeros_and_one_ngram_is_its_vector() -> None:
    encoder = ngram_encoder("ngrams:1,buckets=64,width=4,length=8")
    ids = torch.stack([torch.from_numpy(encoder.input("")), torch.from_numpy(encoder.input("x"))])
    out = encoder(ids)
    assert not out[0].any()
    torch.testing.assert_close(out[1], encoder.table.weight[ids[1, 0]])


@pytest.mark.parametrize(("source", "said"), [
    ("new:gpt,width=8", "kind 'gpt'"), ("new:bert,size=8", "unknown settings size"), ("new:bert,width", "'width'"),
    ("new:bert,width=x", "float"), ("ngrams:a-b", "which sizes"), ("ngrams:1,unit=line", "unit line"),
])  # fmt: skip
def test_wrong_sources_are_named(source: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SentenceEncoder(source)


def test_a_folder_without_an_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no readable text encoder"):
        text_encoder(str(tmp_path))
    with pytest.raises(ModelError, match="no tokenizer"):
        read_tokens(str(tmp_path))


@pytest.mark.assets
def test_the_packaged_encoder_knows_what_is_alike(asset) -> None:  # type: ignore[no-untyped-def]
    asset("minilm-l6")
    encoder = SentenceEncoder("minilm-l6").eval()
    with torch.no_grad():
        glad, joyful, engine = torch.nn.functional.normalize(
            encoder(padded(encoder, ["happy", "joyful", "engine"], 128)), dim=-1
        )
    assert glad @ joyful > glad @ engine + 0.2

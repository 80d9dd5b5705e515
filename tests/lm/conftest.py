"""Tiny language models and tokenizers shared by the tests of the language room."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A tokenizer without chat template."""
    from affectus.lm.toy import toy_tokenizer

    return toy_tokenizer()


@pytest.fixture(scope="session")
def templated() -> Any:
    """A tokenizer with a chat template of its own."""
    from affectus.lm.toy import toy_tokenizer

    template = (
        "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    return toy_tokenizer(template=template)


@pytest.fixture
def chassis(tokenizer: Any) -> Any:
    """A tiny multimodal model with three branches over two kinds of cached features, and its processor."""
    import torch

    from affectus.lm.adapters import lora_settings
    from affectus.lm.chassis import AffectiveLM
    from affectus.lm.config import AffectiveLMConfig, Branch, Encoder
    from affectus.lm.processor import Processor
    from affectus.lm.toy import toy_language_model

    torch.manual_seed(0)
    config = AffectiveLMConfig(
        encoders={"video": Encoder(16), "audio": Encoder(24)},
        branches={
            "multi": Branch(("video", "audio"), "prefusion", wrap="<Multi>{}</Multi>"),
            "audio": Branch(("audio",), tokens=2, wrap="<Audio>{}</Audio>"),
            "face": Branch(("video",), "mlp", slot="video", wrap="<Video>{}</Video>"),
        },
        lora=lora_settings(4, 8, 0.0),
    )
    model = AffectiveLM.build(config, toy_language_model(len(tokenizer)), tokenizer).eval()
    return model, Processor(tokenizer, model)


@pytest.fixture
def items() -> list[dict[str, Any]]:
    """Three prompts of different length and modalities."""
    import numpy as np

    rng = np.random.default_rng(0)
    video, audio = rng.standard_normal((8, 16)), rng.standard_normal((5, 24))
    texts = [
        "<MultiHere> hear <AudioHere> see <FaceHere> Name it",
        "only <AudioHere>?",
        "words without media, but many",
    ]
    media = [{"video": video, "audio": audio}, {"audio": audio[:3]}, {}]
    return [
        {"messages": [{"role": "user", "content": text}], "media": own} for text, own in zip(texts, media, strict=True)
    ]

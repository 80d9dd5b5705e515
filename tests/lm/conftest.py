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

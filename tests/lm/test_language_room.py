from __future__ import annotations

import subprocess
import sys

import affectus.lm

TORCH_FREE = "prompts tags matching extraction judge retrieval completions rewards instructions chat budget"


def test_every_public_name_is_there() -> None:
    for name in affectus.lm.__all__:
        assert getattr(affectus.lm, name).__name__ == name
    assert set(affectus.lm.__all__) == set(dir(affectus.lm))


def test_what_needs_no_torch_loads_none() -> None:
    lines = "".join(f"import affectus.lm.{name}\n" for name in TORCH_FREE.split())
    code = lines + "import sys\nprint([n for n in ('torch', 'transformers', 'sklearn', 'scipy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

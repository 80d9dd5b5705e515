"""Time the language room: words from free answers, retrieval, splice and connectors beside the language model, batches.

    python benchmarks/language_speed.py [--device cuda] [--width 896] [--layers 24] [--answers 10000] [--json FILE]

The language model is random: only its shape counts. `--width 3584 --layers 28` has the shape of a 7 B model.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affectus.lm import AffectiveLM, AffectiveLMConfig, Branch, EmbeddingIndex, Encoder, Processor, extract_many
from affectus.lm.toy import toy_language_model, toy_tokenizer

PLAIN = ["the", "man", "in", "video", "talks", "about", "meeting", "while", "camera", "moves", "tone", "louder"]
LOADED = ["angry", "not sad", "anxious", "a bit relieved", "frustrated"]


def seconds(work: Callable[[], Any], device: str = "cpu", repeats: int = 5) -> float:
    """Best wall time of several runs after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def extraction(count: int) -> dict[str, float]:
    """Seconds for emotion words of free answers of about 60 words."""
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(count):
        words = list(rng.choice(PLAIN, 55))
        for place in (15, 30, 45):
            words.insert(place, str(rng.choice(LOADED)))
        answers.append(" ".join(words) + ".")
    return {"answers": count, "seconds": seconds(lambda: extract_many(answers), repeats=2)}


def retrieval(rows: int = 100_000, width: int = 768, batch: int = 256) -> dict[str, float]:
    """Milliseconds of one query and queries per second in batches, top 8."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        blocks = (rng.standard_normal((10_000, width), dtype=np.float32) for _ in range(rows // 10_000))
        index = EmbeddingIndex.build(folder, blocks, [str(i) for i in range(rows)], "random")
        queries = rng.standard_normal((batch, width), dtype=np.float32)
        single = seconds(lambda: index.search(queries[:1], 8))
        together = seconds(lambda: index.search(queries, 8))
    return {"ms_per_query": single * 1e3, f"queries_per_s_in_{batch}": batch / together}


def chassis(width: int, layers: int, device: str, prompt: int = 200, batch: int = 8) -> dict[str, float]:
    """Share of splice and connectors in the forward pass, and tokens per second one by one and in a batch."""
    tokenizer = toy_tokenizer(size=1000)
    base = toy_language_model(len(tokenizer), width, layers, max(4, width // 64), "qwen2", positions=4096)
    config = AffectiveLMConfig(
        encoders={"video": Encoder(768), "audio": Encoder(1024)},
        branches={
            "multi": Branch(("video", "audio"), "prefusion"),
            "audio": Branch(("audio",)),
            "video": Branch(("video",)),
        },
    )
    model = AffectiveLM.build(config, base, tokenizer).to(device).eval()
    if device != "cpu":
        model = model.to(torch.bfloat16)
    processor = Processor(tokenizer, model)
    rng = np.random.default_rng(0)
    text = "<MultiHere> <AudioHere> <VideoHere> " + "angry " * prompt
    media = {"video": rng.standard_normal((8, 768)), "audio": rng.standard_normal((8, 1024))}
    item = {"messages": [{"role": "user", "content": text}], "media": media}
    inputs = {n: processor.inputs(processor.encode([item] * n), device) for n in (1, batch)}
    options = {"max_new_tokens": 32, "min_new_tokens": 32, "do_sample": False}
    with torch.inference_mode():
        own = inputs[batch]
        embeddings = model.embed(own["input_ids"], own["modality_ids"], own["media"], own["attention_mask"])
        table = seconds(lambda: model.get_input_embeddings()(own["input_ids"]), device)
        spliced = seconds(
            lambda: model.embed(own["input_ids"], own["modality_ids"], own["media"], own["attention_mask"]), device
        )
        forward = seconds(
            lambda: model.language_model(inputs_embeds=embeddings, attention_mask=own["attention_mask"]), device
        )
        generate = functools.partial(model.generate, **options)
        speed = {
            n: n * 32 / seconds(functools.partial(generate, **own_inputs), device, 3)
            for n, own_inputs in inputs.items()
        }
    return {
        "splice_share": (spliced - table) / forward,
        "tokens_per_s_single": speed[1],
        f"tokens_per_s_batch_{batch}": speed[batch],
        "batch_gain": speed[batch] / speed[1],
    }


def main() -> None:
    """Run everything and print or write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    record = {
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "extraction": extraction(args.answers),
        "retrieval": retrieval(args.rows),
        "chassis": {"width": args.width, "layers": args.layers, **chassis(args.width, args.layers, args.device)},
        "tiny": {"width": 64, "layers": 2, **chassis(64, 2, args.device)},
    }
    text = json.dumps(record, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

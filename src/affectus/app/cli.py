"""The `affectus` command. Only what its help needs is imported here; each command loads its own parts when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from affectus.app.terminal import INTERRUPTED, guarded, say

app = typer.Typer(
    name="affectus",
    help="Perceived emotion in recordings, pictures and texts: who, when, which expression, from which evidence, how "
    "sure. Everything runs on this machine. Expressions are perceived; inner states are not measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
assets_app = typer.Typer(no_args_is_help=True, help="Foreign model files: list, fetch, check.")
corpora_app = typer.Typer(no_args_is_help=True, help="Published corpora: list, how to get one, check a folder, table.")
app.add_typer(assets_app, name="assets")
app.add_typer(corpora_app, name="corpora")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


def _version(wanted: bool) -> None:
    if wanted:
        from affectus import __version__

        print(f"affectus {__version__}")
        raise typer.Exit


def _benchmarks(wanted: bool) -> None:
    if wanted:
        from affectus.app.research import list_benchmarks

        list_benchmarks()
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def analyze(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders to analyse.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for tables and reports, one sub-folder per input.")
    ] = None,
    modalities: Annotated[
        str, typer.Option(help="Which of face, voice, words, scene, separated by commas.")
    ] = "face,voice,words,scene",
    transcript: Annotated[
        Path | None,
        typer.Option(
            help="What is said (srt, vtt, csv, xlsx, jsonl, txt, docx); else a side-car file, else recognised."
        ),
    ] = None,
    fps: Annotated[float, typer.Option(help="Pictures looked at per second.")] = 5.0,
    window: Annotated[float, typer.Option(help="Seconds per fused result.")] = 1.0,
    language: Annotated[str, typer.Option(help="auto, or a code such as en or de.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    baseline: Annotated[bool, typer.Option("--baseline", help="Correct each face by its own usual look.")] = False,
    confidence: Annotated[float, typer.Option(help="Probability from which a label is named, else uncertain.")] = 0.45,
    conflict: Annotated[float, typer.Option(help="Divergence (bits) from which modalities disagree.")] = 0.4,
    context: Annotated[
        bool, typer.Option("--context/--no-context", help="Read turns of a conversation as the card `context` says.")
    ] = True,
    gap_hints: Annotated[
        bool,
        typer.Option(
            "--gap-hints/--no-gap-hints",
            help="Mark turns of a conversation that writer and reader may see differently (weak hints).",
        ),
    ] = True,
    columns: Annotated[
        str,
        typer.Option(
            help="Columns of a table, where their names do not tell: text=NAME,speaker=NAME,start=NAME … "
            "(numbers where it has no header)."
        ),
    ] = "",
    describe: Annotated[
        bool, typer.Option("--describe", help="Add open words and a short explanation per person and turn.")
    ] = False,
    llm: Annotated[
        str,
        typer.Option(help="Language model for --describe: packaged, a hub id, a folder, or http(s)://HOST/v1[#MODEL]."),
    ] = "",
    llm_timeout: Annotated[float, typer.Option(help="Seconds the language model may take per turn.")] = 60.0,
    formats: Annotated[
        str, typer.Option(help="What to write: parquet, csv, html, json, vtt, eaf, textgrid.")
    ] = "parquet,csv,html",
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole timeline as one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary; errors only.")] = False,
) -> None:
    """Analyse video, audio, pictures, texts, subtitles, tables, or folders of these."""
    from affectus.app.analyze import Choice, run

    choice = Choice(modalities, transcript, fps, window, language, device, baseline, confidence, conflict,
                    context, gap_hints, columns, describe, llm, llm_timeout, out, formats, as_json, quiet)  # fmt: skip
    try:
        raise typer.Exit(run(paths, choice))
    except KeyboardInterrupt:
        say("interrupted; results that were finished are kept")
        raise typer.Exit(INTERRUPTED) from None


@app.command()
def doctor(as_json: JsonFlag = False) -> None:
    """What works on this machine, what is missing, and the command that mends it."""
    from affectus.app.doctor import run

    raise typer.Exit(run(as_json))


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="face, voice, words, scene, context, gap: the full card.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """The models that ship with the package: data, accuracy, calibration, limits."""
    from affectus.app.catalogue import show_card, show_cards

    if name is None:
        show_cards(as_json)
    else:
        show_card(name, as_json)


@assets_app.command("list")
def assets_list(as_json: JsonFlag = False) -> None:
    """Every foreign file, what it is for and whether it is here."""
    from affectus.app.catalogue import list_assets

    list_assets(as_json)


@assets_app.command("get")
def assets_get(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: what `analyze` needs.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Optional ones too (not those for training).")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Fetch again what is here.")] = False,
) -> None:
    """Fetch assets so that an analysis needs no network."""
    from affectus.app.catalogue import get_assets

    raise typer.Exit(get_assets(names or [], everything, refresh))


@assets_app.command("verify")
def assets_verify(names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None) -> None:
    """Check files that are here against their pinned hashes."""
    from affectus.app.catalogue import verify_assets

    raise typer.Exit(verify_assets(names or []))


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML), such as recipes/face/ferplus.yaml.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, logs and the model package.")],
    root: Annotated[list[str] | None, typer.Option(help="Where a corpus lies: NAME=DIR, once per corpus.")] = None,
) -> None:
    """Train a model by its recipe (needs the extra `train`); a killed run goes on where it was."""
    from affectus.app.research import train as run

    run(recipe, root or [], out)


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Argument(help="face, voice, words, scene, the folder of a model package, or a system.")
    ],
    corpus: Annotated[str, typer.Option(help="Name of a corpus, see `affectus corpora list`.")],
    root: Annotated[Path, typer.Option(help="Its folder or archive in the published layout.")],
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "all",
    weights: Annotated[Path | None, typer.Option(help="Folder with the weights of a system.")] = None,
    column: Annotated[str, typer.Option(help="Target column, where the corpus has several.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Measure a model on a corpus."""
    from affectus.app.research import evaluate as run

    run(model, corpus, root, split, as_json, weights, column)


@app.command()
def systems(
    name: Annotated[str | None, typer.Argument(help="One system: its whole card.")] = None,
    docs: Annotated[Path | None, typer.Option(help="Write a Markdown page per system into this folder.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Published systems: modalities, published results, licence, where weights can be had."""
    from affectus.app.systems import show_system, show_systems

    if docs is not None:
        from affectus.app.pages import write_pages

        print(f"{len(write_pages(docs))} pages: {docs}")
    elif name is None:
        show_systems(as_json)
    else:
        show_system(name, as_json)


@app.command()
def predict(
    media: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    system: Annotated[str, typer.Option(help="Name of a system, see `affectus systems`.")],
    weights: Annotated[Path, typer.Option(help="Folder with its weights, as written by `affectus train`.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write predictions as JSON lines.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Predict media files with a trained system (needs the extra `train`).

    Tables, subtitles and chats give a line per turn, for systems that take texts or conversations.
    """
    from affectus.app.systems import predict as run

    raise typer.Exit(run(system, weights, media, out, as_json))


@app.command()
def score(
    benchmark: Annotated[str, typer.Option(help="Name of a benchmark, see --list.")],
    predictions: Annotated[Path, typer.Option(help="Predictions: csv, jsonl or npz in the published shape.")],
    labels: Annotated[
        Path | None, typer.Option(help="Label file, where the predictions do not hold the truth.")
    ] = None,
    variant: Annotated[
        str, typer.Option(help="published (as the tables in papers were made, bug for bug) or strict (honest).")
    ] = "published",
    tables: Annotated[Path | None, typer.Option(help="Folder with emotion-wheel tables to use.")] = None,
    listed: Annotated[
        bool, typer.Option("--list", callback=_benchmarks, is_eager=True, help="List the benchmarks and leave.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Score a file of predictions by the protocol of a benchmark."""
    from affectus.app.research import score as run

    run(benchmark, predictions, labels, variant, tables, as_json)


@app.command()
def scoreboard(
    records: Annotated[list[Path], typer.Argument(help="Result records (JSON) or folders of them.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write .md or .html; else Markdown is printed.")
    ] = None,
) -> None:
    """Render result records beside the published numbers."""
    from affectus.app.research import scoreboard as run

    run(records, out)


@app.command("describe-corpus")
def describe_corpus(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Recordings or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for descriptions, words, audit; goes on there.")],
    llm: Annotated[
        str, typer.Option(help="Writes: packaged, a hub id, a folder, or http(s)://HOST/v1[#MODEL].")
    ] = "packaged",
    scorer: Annotated[str, typer.Option(help="Scores agreement; the same model unless another is named.")] = "",
    least_score: Annotated[float, typer.Option(help="Agreement (0 to 10) from which a description is kept.")] = 6.0,
    least_words: Annotated[int, typer.Option(help="Words a description must have.")] = 8,
    most_words: Annotated[int, typer.Option(help="Words a description may have.")] = 200,
    timeout: Annotated[float, typer.Option(help="Seconds a reply may take.")] = 120.0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    fps: Annotated[float, typer.Option(help="Pictures looked at per second.")] = 5.0,
    as_json: JsonFlag = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary; errors only.")] = False,
) -> None:
    """Describe recordings in open words for training: evidence, description, filters, agreement, audit."""
    from affectus.app.describe_corpus import Choice, run

    choice = Choice(llm, out, scorer, least_score, least_words, most_words, timeout, device, fps, as_json, quiet)
    try:
        raise typer.Exit(run(paths, choice))
    except KeyboardInterrupt:
        say("interrupted; clips that were described are kept")
        raise typer.Exit(INTERRUPTED) from None


@corpora_app.command("list")
def corpora_list(as_json: JsonFlag = False) -> None:
    """Corpora that can be read."""
    from affectus.app.research import list_corpora

    list_corpora(as_json)


@corpora_app.command("info")
def corpora_info(name: str, as_json: JsonFlag = False) -> None:
    """Licence, size, layout of a corpus and how to obtain it."""
    from affectus.app.research import corpus_info

    corpus_info(name, as_json)


@corpora_app.command("check")
def corpora_check(
    name: str,
    root: Annotated[Path, typer.Argument(metavar="PATH")],
    fast: Annotated[bool, typer.Option("--fast", help="Do not open every medium.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """What is missing or malformed in a folder of a corpus."""
    from affectus.app.research import check_corpus

    raise typer.Exit(check_corpus(name, root, fast, as_json))


@corpora_app.command("table")
def corpora_table(
    name: str,
    root: Annotated[Path, typer.Argument(metavar="PATH")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Parquet file to write.")],
    split: Annotated[str, typer.Option(help="train, valid, test or all.")] = "all",
) -> None:
    """Write the table of a corpus as Parquet."""
    from affectus.app.research import corpus_table

    corpus_table(name, root, out, split)


def main() -> None:
    """Entry point of the `affectus` command."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe with another encoding must not turn an emoji in a file name into a crash.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    with guarded():
        app()


if __name__ == "__main__":
    main()

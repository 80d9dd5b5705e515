"""The documentation page of each system, generated from its card so that it cannot drift from the code."""

from __future__ import annotations

from pathlib import Path

from affectus.systems import registry
from affectus.systems.card import SystemCard


def system_page(card: SystemCard) -> str:
    """Markdown page of one system."""
    facts = [
        ("paper", f"{card.paper} ({card.year})"),
        ("public code", card.code or "none"),
        ("inputs", ", ".join(card.modalities)),
        ("missing modality", card.missing),
        ("task", card.task),
        ("perspective", card.perspective),
        ("labels", f"{card.space}: {', '.join(card.labels)}" if card.labels else card.space or "–"),
        ("dimensions", ", ".join(card.dimensions) or "–"),
        ("stages", ", ".join(card.stages)),
        ("weights", card.weights),
        *((f"licence of {part}", text) for part, text in card.licence.items()),
    ]
    lines = [f"# {card.title}", "", card.summary, "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(text)} |" for name, text in facts]
    lines += [
        "",
        "## Published results",
        "",
        "| corpus | protocol | metric | value | source |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {_cell(p.corpus)} | {_cell(p.protocol) or '–'} | {p.metric} | {p.value:g} | {_cell(p.source)} |"
        for p in card.published
    ]
    for title, entries in (("Deviations from the paper", card.deviations), ("Limits", card.limits)):
        if entries:
            lines += ["", f"## {title}", "", *(f"- {entry}" for entry in entries)]
    recipe = f"recipes/{card.name}/tiny.yaml"
    lines += [
        "",
        "## Use",
        "",
        "```sh",
        f"affectus train {recipe} --out runs/{card.name}",
        f"affectus predict --system {card.name} --weights runs/{card.name}/model FILES",
        "```",
        "",
        "```python",
        "import affectus",
        "",
        f'system = affectus.load("{card.name}", weights="runs/{card.name}/model")',
        "print(system.inputs())  # the exact preprocessing",
        "```",
        "",
    ]
    return "\n".join(lines)


def index_page() -> str:
    """Markdown list of all systems."""
    rows = [
        f"| [{card.name}]({name}.md) | {_cell(card.title)} | {', '.join(card.modalities)} | {card.perspective} |"
        for name, card in registry.cards().items()
    ]
    return "\n".join(
        ["# Systems", "", "| system | what it is | inputs | perspective |", "|---|---|---|---|", *rows, ""]
    )


def write_pages(folder: Path) -> list[Path]:
    """Write the index and one page per system; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"README": index_page(), **{name: system_page(card) for name, card in registry.cards().items()}}
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    return [folder / f"{name}.md" for name in pages]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""Links between the documents lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(document: Path) -> None:
    broken = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert broken == []


def test_the_readme_lists_every_document() -> None:
    text = (ROOT / "README.md").read_text()
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"docs/{path.name}" not in text] == []


def test_the_specification_lists_every_document() -> None:
    folder = ROOT / "docs" / "spec"
    text = (folder / "README.md").read_text()
    files = [path for pattern in ("*.md", "guides/*") for path in folder.glob(pattern) if path.name != "README.md"]
    assert [path.name for path in files if f"]({path.relative_to(folder)})" not in text] == []


NAMED = re.compile(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+(?:\.py|/))`")


def test_the_architecture_names_what_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = {*NAMED.findall(text), *re.findall(r"`(tests/[a-z_/]+)`", text)}
    assert len(named) > 60
    assert [
        name for name in sorted(named) if not any((place / name).exists() for place in (ROOT / "src/drydock", ROOT))
    ] == []


def test_what_the_architecture_finds_in_a_file_is_there() -> None:
    pairs = re.findall(r"`([A-Za-z_.]+)`\s+\(`([a-z_/]+\.py)`", (ROOT / "docs" / "architecture.md").read_text())
    assert len(pairs) > 20
    missing = [
        (name, file)
        for name, file in pairs
        for part in name.split(".")[-1:]
        if not re.search(rf"\b{part}\b", (ROOT / "src/drydock" / file).read_text())
    ]
    assert missing == []

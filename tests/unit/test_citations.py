"""Citations such as `updates.md §5` lead to a section of `docs/spec`.

A number is a numbered heading of the document named last before it in the same docstring, comment or line, or an item
of a numbered list under one (`§1.3` is item 3 of section 1). A number without a document refers to the document it
stands in, else to any document that the module names.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "docs" / "spec"
DOCUMENTS = {path.stem: path for path in SPEC.glob("*.md")}
SOURCES = [path for folder in ("src", "tests", "bench") for path in sorted((ROOT / folder).rglob("*.py"))]

HEADING = re.compile(r"^#{2,4} (\d+(?:\.\d+)*)\.?(?: |$)")
ITEM = re.compile(r"^(\d+)\. ")
CITED = re.compile(r"\b([a-z][a-z-]*)\.md\b|§§?\s?(\d+(?:\.\d+)*)(?:\s?[–-]\s?§?(\d+(?:\.\d+)*))?")
DECISION = re.compile(r"\bdecision (\d+)")


@cache
def sections(document: str) -> frozenset[str]:
    found: set[str] = set()
    section = ""
    for line in DOCUMENTS[document].read_text().splitlines():
        if heading := HEADING.match(line):
            section = heading[1]
            found.add(section)
        elif section and (item := ITEM.match(line)):
            found.add(f"{section}.{item[1]}")
    return frozenset(found)


@cache
def decisions() -> frozenset[str]:
    text = DOCUMENTS["README"].read_text().split("\n## Decisions\n")[1]
    return frozenset(item[1] for line in text.splitlines() if (item := ITEM.match(line)))


def prose(source: str) -> Iterator[str]:
    """The texts of a module: every string, and every comment with its neighbouring lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
    last, lines = -1, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if token.start[0] != last + 1 and lines:
            yield "\n".join(lines)
            lines = []
        lines.append(token.string)
        last = token.start[0]
    yield "\n".join(lines)


def broken(passages: list[str], home: str | None = None) -> list[str]:
    """Citations that lead nowhere; `home` is the document that the passages stand in."""
    named = {home} if home else {name for each in passages for name, *_ in CITED.findall(each) if name in DOCUMENTS}
    wrong = []
    for passage in passages:
        document: str | None = None
        for name, *numbers in CITED.findall(passage):
            if name:
                document = name if name in DOCUMENTS else None
                continue
            candidates = named | {document} if home else {document} if document else named
            for number in filter(None, numbers):
                if not any(number in sections(candidate) for candidate in candidates if candidate):
                    wrong.append(f"{document or 'no document'} §{number}: {' '.join(passage.split())[:120]}")
        wrong += [f"decision {number}" for number in DECISION.findall(passage) if number not in decisions()]
    return wrong


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_citations_in_the_code_lead_to_a_section(path: Path) -> None:
    assert broken(list(prose(path.read_text()))) == []


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: str(path.relative_to(ROOT)))
def test_citations_in_the_documents_lead_to_a_section(path: Path) -> None:
    assert broken(path.read_text().splitlines(), home=path.stem if path.parent == SPEC else None) == []

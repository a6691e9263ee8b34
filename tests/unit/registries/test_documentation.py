"""docs/registries.md knows every type and every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drydock.core import errors
from drydock.registries.options import COMMON
from drydock.registries.spec import TYPES

TEXT = (Path(__file__).parents[3] / "docs" / "registries.md").read_text()


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_is_documented(type_: str) -> None:
    assert re.search(rf"^\|.*`{type_}`.*\|.*\|.*\|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("key", sorted(COMMON))
def test_every_common_key_is_documented(key: str) -> None:
    assert f"`{key}" in TEXT


@pytest.mark.parametrize("error", [errors.RegistryError, *errors.RegistryError.__subclasses__()])
def test_every_error_code_is_explained(error: type[errors.RegistryError]) -> None:
    assert f"`{error.code}`" in TEXT

"""Where values come from: the environment, secret files (`DD_X__FILE`), and one YAML file (`DD_CONFIG_FILE`).

Names are case-insensitive. A secret file wins over a plain variable, the environment over the YAML file
(platform.md §1, watching.md §1.1).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from drydock.core.former_names import IGNORED_VARIABLES

PREFIX = "DD_"
FILE_SUFFIX = "__FILE"
SECRET_FILE_LIMIT = 1024 * 1024

Origin = Literal["environment", "file", "yaml"]


class ComponentId(NamedTuple):
    """What a variable configures. `kind` is trigger, registry, authentication …; without `name`, the type as a whole."""

    kind: str
    type: str
    name: str | None = None

    @property
    def id(self) -> str:
        return f"{self.type}.{self.name}" if self.name else self.type


@dataclass(frozen=True)
class Problem:
    """Something wrong with the configuration. `fatal` ones stop the start; the others are warnings.

    `message` says what is wrong and what is allowed, `hint` what was probably meant; neither ever holds a secret.
    `component` is set where something is left out because of it.
    """

    variable: str
    message: str
    fatal: bool = False
    hint: str | None = None
    component: ComponentId | None = None

    @property
    def text(self) -> str:
        """All of it but the variable."""
        said = f"{self.message}; {self.hint}" if self.hint else self.message
        if self.component is None or self.component.name is None:
            return said
        return f"{said} – {self.component.kind} {self.component.id} is not registered"

    def __str__(self) -> str:
        return f"{self.variable}: {self.text}"


@dataclass(frozen=True)
class Entry:
    """One value as given, under which name, and where."""

    name: str
    value: str = field(repr=False)
    origin: Origin


class Source:
    """All `DD_*` values by upper-case name, plus `TZ` and the proxy variables which are read elsewhere as they are."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._entries: dict[str, Entry] = {}
        plain = {name.upper(): value for name, value in environ.items() if name.upper().startswith(PREFIX)}
        # from the weakest to the strongest
        if path := plain.get("DD_CONFIG_FILE"):
            self._read_yaml(path)
        for name, value in plain.items():
            if not name.endswith(FILE_SUFFIX):
                self._entries[name] = Entry(name, value, "environment")
        for name, value in plain.items():
            if name.endswith(FILE_SUFFIX):
                self._read_secret_file(name, value)
        self.ignored = sorted(name for name in environ if name.upper().startswith(IGNORED_VARIABLES))
        """Variables under the name of a former product, which are not read."""
        if self.ignored:
            names = ", ".join(self.ignored)
            self.problems.append(Problem(names, "WUD_* variables are ignored; rename them to DD_*"))

    def names(self, prefix: str = PREFIX) -> list[str]:
        """Names that begin with `prefix`, sorted."""
        return sorted(name for name in self._entries if name.startswith(prefix))

    def under(self, prefix: str) -> dict[str, Entry]:
        """Every entry whose name begins with `prefix`, by the rest of its name."""
        return {name[len(prefix) :]: self._entries[name] for name in self.names(prefix)}

    def values(self, prefix: str) -> dict[str, str]:
        """Name and value of every variable that begins with `prefix`."""
        return {name: self._entries[name].value for name in self.names(prefix)}

    def _read_secret_file(self, name: str, path: str) -> None:
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise OSError("not a regular file")
            if status.st_size > SECRET_FILE_LIMIT:
                raise OSError("larger than 1 MiB")
            content = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError, ValueError) as error:
            self._fatal(name, f"the file {path!r} cannot be used ({_cause(error)})")
            return
        if status.st_mode & 0o077:
            self.problems.append(Problem(name, f"the file {path!r} can be read by others; use mode 0600"))
        variable = name.removesuffix(FILE_SUFFIX)
        self._entries[variable] = Entry(variable, content.rstrip(), "file")

    def _read_yaml(self, path: str) -> None:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        try:
            document = YAML(typ="safe", pure=True).load(Path(path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, YAMLError) as error:
            self._fatal("DD_CONFIG_FILE", f"{path!r} cannot be read as YAML ({_cause(error)})")
            return
        if not isinstance(document, dict):
            self._fatal("DD_CONFIG_FILE", f"{path!r} must be a mapping of option names")
            return
        for name, value in _flatten(PREFIX.rstrip("_"), document):
            self._entries[name] = Entry(name, value, "yaml")

    def _fatal(self, name: str, message: str) -> None:
        self.problems.append(Problem(name, message, fatal=True))


def _flatten(prefix: str, node: Any) -> Iterator[tuple[str, str]]:
    """`{server: {port: 3001}}` becomes `DD_SERVER_PORT=3001`."""
    for key, value in node.items():
        name = f"{prefix}_{str(key).upper()}"
        if isinstance(value, dict):
            yield from _flatten(name, value)
        else:
            yield name, _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(map(_scalar, value))
    return "" if value is None else str(value)


def _cause(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]

"""What may stand on a scanner's command line, and what its environment holds (security.md §1, §3.1).

A command is a bare name or an absolute path; extra arguments cannot override what Drydock sets; an image reference can
never be read as an option; credentials travel in a private folder, never as arguments.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Protocol

from drydock.core.secret import Secret
from drydock.security.failures import failure

_FORBIDDEN = re.compile(r"[;|$\0&<>`\n]")
_REFERENCE = re.compile(r"[A-Za-z0-9][\w.:/@\[\]-]*", re.ASCII)
# What programs may see of our own environment: their own variables, and what finds programs, proxies and certificates.
PASSED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
PASSED_PREFIXES = ("LC_", "TRIVY_", "GRYPE_", "SYFT_", "COSIGN_", "SIGSTORE_", "TUF_", "DOCKER_", "SSL_", "AWS_")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")
"""Docker Hub's names in a `config.json`; programs differ in which one they look for."""


class Login(Protocol):
    """A user and a password for one registry."""

    @property
    def username(self) -> str: ...

    @property
    def password(self) -> Secret: ...


Logins = Callable[[str, str], Awaitable[Login | None]]
"""Host and repository → what signs in there; `Registries.pull_auth`."""


async def anonymous(_host: str, _repository: str) -> Login | None:
    """No registry wants a login."""
    return None


def check_command(command: str) -> str:
    """The command itself. `ScanFailed` when it is neither a bare name nor an absolute path."""
    bare = "/" not in command and not re.search(r"\s", command)
    if not command or _FORBIDDEN.search(command) or not (bare or command.startswith("/")) or command.startswith("-"):
        raise failure(f"{command!r} is invalid; use a command name or absolute path", transient=False)
    return command


def check_extra(program: str, extra: Sequence[str], protected: Sequence[str]) -> Sequence[str]:
    """The extra arguments. `ScanFailed` when one sets what Drydock sets itself."""
    for argument in extra:
        flag = argument.split("=", 1)[0]
        if flag in protected:
            raise failure(f"{program} extra arguments cannot override {flag}", transient=False)
    return extra


def check_reference(reference: str) -> str:
    """The reference. `ScanFailed` for a text that a program could read as an option or anything but an image."""
    if len(reference) > 1024 or not _REFERENCE.fullmatch(reference):
        raise failure(f"{reference[:200]!r} is not an image reference", transient=False)
    return reference


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of Drydock's environment that a scanner may see: none of Drydock's variables."""
    return {
        name: value
        for name, value in environ.items()
        if name in PASSED or name.startswith(PASSED_PREFIXES) or name.lower() in PROXIES
    }


@contextlib.contextmanager
def signed_in(environ: Mapping[str, str], registry: str, login: Login | None) -> Iterator[dict[str, str]]:
    """The environment of a child with the login for `registry` in its own folder, deleted afterwards.

    Without a login the environment is passed on as it is, with the operator's own DOCKER_CONFIG if there is one.
    """
    env = inherited(environ)
    if login is None:
        yield env
        return
    try:
        folder = tempfile.mkdtemp(prefix="drydock-login-")
    except OSError as error:
        raise failure(f"No folder for the registry login: {error.strerror}") from error
    try:
        names = HUB_KEYS if registry in HUB_KEYS else (registry,)
        auths = {name: {"auth": _encoded(login)} for name in names}
        try:
            path = pathlib.Path(folder) / "config.json"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump({"auths": auths}, file)
        except OSError as error:
            raise failure(f"The registry login could not be written: {error.strerror}") from error
        yield {**env, "DOCKER_CONFIG": folder}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def secrets_of(login: Login | None) -> list[str]:
    """What must never appear in a text: the password, and the encoded pair."""
    if login is None:
        return []
    return [login.password.reveal(), _encoded(login)]


def _encoded(login: Login) -> str:
    return base64.b64encode(f"{login.username}:{login.password.reveal()}".encode()).decode()

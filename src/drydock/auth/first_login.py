"""A password for trying Drydock out: made at start, shown once in the terminal, good until the process ends."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import msgspec

from drydock.auth.passwords import make_hash

USER = "admin"
LENGTH = 12


class FirstLogin(msgspec.Struct, frozen=True, kw_only=True):
    """The variables that let one user in, and the password to show."""

    user: str
    password: str
    variables: dict[str, str]

    @property
    def sentence(self) -> str:
        """What to show the person at the terminal."""
        return f"Sign in as {self.user} with the password {self.password} (for this run only; docs/authentication.md)."


def first_login(environ: Mapping[str, str]) -> FirstLogin | None:
    """A user for a run in which no one could sign in otherwise; None when the environment already says who may."""
    names = {name.upper() for name in environ}
    said = (
        "DD_AUTH_BASIC_",
        "DD_AUTH_OIDC_",
        "DD_AUTH_APIKEY_",
        "DD_ANONYMOUS_AUTH",
        "DD_AUTH_ANONYMOUS",
        "DD_CONFIG_FILE",
    )
    if any(name.startswith(said) for name in names):
        return None
    password = secrets.token_urlsafe(LENGTH)
    variables = {"DD_AUTH_BASIC_ADMIN_USER": USER, "DD_AUTH_BASIC_ADMIN_HASH": make_hash(password)}
    return FirstLogin(user=USER, password=password, variables=variables)

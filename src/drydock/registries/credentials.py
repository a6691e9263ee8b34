"""How each type's keys become a user and a password (registries.md §2.6). Pure; keys come validated by `option_rules.py`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

from drydock.core.secret import Secret
from drydock.registries.option_rules import decode_auth

Keys = Mapping[str, str]


@dataclass(frozen=True)
class Credentials:
    """A user and a password or token, for the registry and for a pull by the Engine."""

    username: str
    password: Secret

    @property
    def id(self) -> str:
        """Names these credentials in cache keys without telling them."""
        text = f"{self.username}\0{self.password.reveal()}".encode()
        return hashlib.sha256(text).hexdigest()[:16]

    def basic(self) -> str:
        """The value of a Basic Authorization header."""
        return aiohttp.encode_basic_auth(self.username, self.password.reveal(), encoding="utf-8")


Rule = Callable[[Keys], Credentials | None]
ANONYMOUS = "anonymous"


def none(keys: Keys) -> Credentials | None:
    """This type signs in by other means, or never."""
    del keys
    return None


def login(keys: Keys) -> Credentials | None:
    """`login` and `password`, or decoded `auth`."""
    return _pair(keys.get("login"), keys.get("password")) or _decoded(keys)


def docker(keys: Keys) -> Credentials | None:
    """`login` with `password` or `token`, or decoded `auth`."""
    return _pair(keys.get("login"), keys.get("password") or keys.get("token")) or _decoded(keys)


def docr(keys: Keys) -> Credentials | None:
    """DigitalOcean: any user goes with a token."""
    return _pair(keys.get("login") or "doctl", keys.get("token") or keys.get("password")) or _decoded(keys)


def ibm(keys: Keys) -> Credentials | None:
    """An API key has its own user name."""
    return _pair("iamapikey", keys.get("apikey")) or login(keys)


def user_token(keys: Keys) -> Credentials | None:
    """`username` and `token`."""
    return _pair(keys.get("username"), keys.get("token"))


def gitlab(keys: Keys) -> Credentials | None:
    """Any non-empty user is accepted with an access token; some engines require one."""
    return _pair("oauth2", keys.get("token"))


def acr(keys: Keys) -> Credentials | None:
    """A service principal."""
    return _pair(keys.get("clientid"), keys.get("clientsecret"))


def quay(keys: Keys) -> Credentials | None:
    """A robot account."""
    return _pair(f"{keys.get('namespace')}+{keys.get('account')}", keys.get("token"))


def google(keys: Keys) -> Credentials | None:
    """A service account as JSON key; a key from an environment variable carries a literal backslash-n."""
    if "clientemail" not in keys:
        return None
    document = {
        "type": "service_account",
        "client_email": keys["clientemail"],
        "private_key": keys["privatekey"].replace("\\n", "\n"),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return _pair("_json_key", json.dumps(document))


def _pair(username: str | None, password: str | None) -> Credentials | None:
    return Credentials(username, Secret(password)) if username and password else None


def _decoded(keys: Keys) -> Credentials | None:
    pair = decode_auth(keys.get("auth", ""))
    return _pair(*pair) if pair else None

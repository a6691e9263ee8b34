"""The five shapes of a registry's configuration, and the keys that every type accepts (registries.md §1.2).

A shape takes the written keys and returns the reason why they are wrong, or None. Reasons name key and rule, never a
value. Which type uses which shape is a column of `spec.py`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping

from yarl import URL

Keys = Mapping[str, str]
Shape = Callable[[Keys], str | None]

TLS_KEYS = frozenset({"cafile", "insecure", "clientcert", "clientkey"})
COMMON_KEYS = TLS_KEYS | {"concurrency"}
_B64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def empty(keys: Keys) -> str | None:
    """No keys at all."""
    return _unknown(keys, set())


def basic(keys: Keys) -> str | None:
    """`login` and `password` together, or `auth` alone, or nothing."""
    return _unknown(keys, {"login", "password", "auth"}) or _basic(keys)


def token(keys: Keys) -> str | None:
    """Docker's own: nothing, `login`+`password`, `login`+`token`, or `auth` alone."""
    reason = _unknown(keys, {"login", "password", "token", "auth"})
    if reason:
        return reason
    written = frozenset(keys)
    if written not in (set(), {"login", "password"}, {"login", "token"}, {"auth"}):
        return '"login" needs exactly one of "password" and "token"; "auth" stands alone'
    return _auth(keys, blank_allowed=False)


def self_hosted(keys: Keys) -> str | None:
    """`url` (required), credentials as in `basic`, `authurl`, and the TLS keys."""
    if "url" not in keys:
        return '"url" is required'
    return _unknown(keys, {"url", "authurl", "login", "password", "auth"}) or check_urls(keys) or _basic(keys)


def user_token(keys: Keys) -> str | None:
    """`username` and `token`, both or nothing."""
    return _unknown(keys, {"username", "token"}) or _together(keys, "username", "token")


def quay(keys: Keys) -> str | None:
    """A robot: `namespace`, `account` and `token`, all or nothing."""
    return _unknown(keys, {"namespace", "account", "token"}) or _together(keys, "namespace", "account", "token")


def ecr(keys: Keys) -> str | None:
    """An access key with its region, all or nothing."""
    names = ("accesskeyid", "secretaccesskey", "region")
    reason = _unknown(keys, set(names)) or _together(keys, *names)
    if reason is None and "region" in keys and not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", keys["region"]):
        return '"region" must be an AWS region such as eu-west-1'
    return reason


def acr(keys: Keys) -> str | None:
    """A service principal, required."""
    if not keys:
        return '"clientid" and "clientsecret" are required'
    return _unknown(keys, {"clientid", "clientsecret"}) or _together(keys, "clientid", "clientsecret")


def google(keys: Keys) -> str | None:
    """A service account, or nothing."""
    return _unknown(keys, {"clientemail", "privatekey"}) or _together(keys, "clientemail", "privatekey")


def gitlab(keys: Keys) -> str | None:
    """`token` required; `url` and `authurl` for a self-hosted server."""
    return mau(keys) or (None if "token" in keys else '"token" is required')


def mau(keys: Keys) -> str | None:
    """`token`, `url` and `authurl`, each optional."""
    return _unknown(keys, {"token", "url", "authurl"}) or check_urls(keys)


def docr(keys: Keys) -> str | None:
    """Any of `login`, `password`, `token`, `auth`."""
    return _unknown(keys, {"login", "password", "token", "auth"}) or _auth(keys, blank_allowed=True)


def ibmcr(keys: Keys) -> str | None:
    """`apikey` alone, or credentials as in `basic`."""
    if "apikey" in keys:
        return _unknown(keys, {"apikey"})
    return _unknown(keys, {"login", "password", "auth"}) or _basic(keys)


def common(keys: Keys) -> str | None:
    """The keys that every type accepts: TLS files, `insecure`, `concurrency`."""
    if keys.get("insecure", "false").lower() not in ("true", "false"):
        return '"insecure" must be true or false'
    number = keys.get("concurrency", "1")
    if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= 32:
        return '"concurrency" must be a whole number from 1 to 32'
    return _together(keys, "clientcert", "clientkey")


def check_urls(keys: Keys) -> str | None:
    """`url` and `authurl` must be HTTP addresses without credentials."""
    for name in ("url", "authurl"):
        reason = _url(name, keys[name]) if name in keys else None
        if reason:
            return reason
    return None


def with_scheme(text: str) -> str:
    """A URL without scheme means https; trailing slashes mean nothing."""
    return (text if "://" in text else f"https://{text}").rstrip("/")


def _url(name: str, text: str) -> str | None:
    try:
        url = URL(with_scheme(text))
    except ValueError:
        return f'"{name}" must be a valid URL'
    if url.scheme not in ("http", "https") or not url.host:
        return f'"{name}" must be a valid http or https URL'
    if url.user is not None or url.password is not None:
        return f'"{name}" must not contain credentials: put credentials in LOGIN/PASSWORD'
    return f'"{name}" must not have a query or fragment' if url.query_string or url.fragment else None


def _unknown(keys: Keys, known: set[str]) -> str | None:
    wrong = sorted(set(keys) - known)
    if not wrong:
        return None
    allowed = ", ".join(sorted(known | COMMON_KEYS))
    return f'"{wrong[0]}" is not allowed; this type knows {allowed}'


def _together(keys: Keys, *names: str) -> str | None:
    missing = [name for name in names if name not in keys]
    if not missing or len(missing) == len(names):
        return None
    return f'"{missing[0]}" is required together with "{next(name for name in names if name in keys)}"'


def _basic(keys: Keys) -> str | None:
    if "auth" in keys and ("login" in keys or "password" in keys):
        return '"auth" must not be combined with "login" or "password"'
    return _together(keys, "login", "password") or _auth(keys, blank_allowed=True)


def _auth(keys: Keys, *, blank_allowed: bool) -> str | None:
    text = keys.get("auth")
    if text is None or (not text and blank_allowed):
        return None
    return None if text and _B64.fullmatch(text) else '"auth" must be base64 with padding'


def decode_auth(text: str) -> tuple[str, str] | None:
    """User and password of base64 `user:password`; None if it is not of that form."""
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon and user and password else None

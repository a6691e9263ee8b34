"""The options of registries, declared once; which of them a type takes, and how they become credentials (registries.md §1.2, §2.6).

Which type uses which shape and which rule is a column of `spec.py`. Problems name variable and rule, never a value.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import aiohttp
from yarl import URL

from drydock.config import kinds
from drydock.config.components import Wrong
from drydock.config.kinds import Kind
from drydock.config.schema import option, section, section_of
from drydock.core.secret import Secret

_B64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


def _matching(name: str, allowed: str, pattern: re.Pattern[str]) -> Kind[str]:
    """Text that matches as a whole; like all others here it is not repeated in problems."""

    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return text

    return Kind(name, allowed, read, secret=True)


def _text() -> Kind[str]:
    return replace(kinds.text(), secret=True)


def _url() -> Kind[str]:
    """With a scheme, https where none is written, and without the slash at the end, which means nothing."""

    def read(text: str) -> str:
        whole = (text if "://" in text else f"https://{text}").rstrip("/")
        url = URL(whole)
        wrong = url.user is not None or url.query_string or url.fragment
        if url.scheme not in ("http", "https") or not url.host or wrong:
            raise ValueError(text)
        return whole

    allowed = "an http or https URL without query or fragment, and without credentials (those go in LOGIN/PASSWORD)"
    return Kind("url", allowed, read, secret=True)


def _file() -> Kind[str]:
    def read(text: str) -> str:
        if not (os.path.isfile(text) and os.access(text, os.R_OK)):
            raise ValueError(text)
        return text

    return Kind("file", "the path of a readable file", read, secret=True)


def _base64() -> Kind[Secret]:
    plain = _matching("base64", "base64 of user:password, with padding", _B64)
    return replace(kinds.secret(), allowed=plain.allowed, read=lambda text: Secret(plain.read(text)))


@section(
    "DD_REGISTRY_<TYPE>_",
    "Registries",
    "Each type takes some of these options; docs/registries.md says which. `DD_REGISTRY_<TYPE>_<NAME>=` without a value "
    "declares an anonymous instance.",
    family=True,
)
class RegistryOptions:
    """Everything that an instance can be told."""

    type: str = ""
    name: str = ""
    url: str | None = option(
        "URL", _url(), default=None, help="Address of the registry; https where no scheme is given."
    )
    authurl: str | None = option("AUTHURL", _url(), default=None, help="Token server that may see the credentials.")
    login: str | None = option("LOGIN", _text(), default=None, help="User name.")
    password: Secret | None = option("PASSWORD", kinds.secret(), default=None, help="Password of `LOGIN`.")
    auth: Secret | None = option(
        "AUTH",
        _base64(),
        default=None,
        help="User name and password in one.",
    )
    username: str | None = option("USERNAME", _text(), default=None, help="User name that goes with `TOKEN`.")
    token: Secret | None = option("TOKEN", kinds.secret(), default=None, help="Access token.")
    namespace: str | None = option("NAMESPACE", _text(), default=None, help="Organisation of a robot account (Quay).")
    account: str | None = option("ACCOUNT", _text(), default=None, help="Name of a robot account (Quay).")
    accesskeyid: Secret | None = option("ACCESSKEYID", kinds.secret(), default=None, help="AWS access key.")
    secretaccesskey: Secret | None = option("SECRETACCESSKEY", kinds.secret(), default=None, help="Its secret.")
    region: str | None = option(
        "REGION",
        _matching("region", "an AWS region such as eu-west-1", _REGION),
        default=None,
        help="AWS region.",
    )
    clientid: str | None = option("CLIENTID", _text(), default=None, help="Service principal (Azure).")
    clientsecret: Secret | None = option("CLIENTSECRET", kinds.secret(), default=None, help="Its secret.")
    clientemail: str | None = option("CLIENTEMAIL", _text(), default=None, help="Service account (Google).")
    privatekey: Secret | None = option("PRIVATEKEY", kinds.secret(), default=None, help="Its private key.")
    apikey: Secret | None = option("APIKEY", kinds.secret(), default=None, help="API key (IBM Cloud).")
    cafile: str | None = option("CAFILE", _file(), default=None, help="Further certificate authorities, PEM.")
    insecure: bool | None = option(
        "INSECURE", kinds.boolean(), default=None, help="Do not verify the registry's certificate."
    )
    clientcert: str | None = option("CLIENTCERT", _file(), default=None, help="Client certificate, PEM.")
    clientkey: str | None = option("CLIENTKEY", _file(), default=None, help="Its key.")
    concurrency: int | None = option("CONCURRENCY", kinds.integer(1, 32), default=None, help="Requests at a time.")


COMMON = frozenset({"CAFILE", "INSECURE", "CLIENTCERT", "CLIENTKEY", "CONCURRENCY"})
"""Every type takes them."""
_EXCLUSIVE = frozenset({"login", "password", "token", "auth", "apikey"})


@dataclass(frozen=True)
class Shape:
    """Which options a type takes.

    `pairs`: an option, and those of which exactly one goes with it. `alone`: credentials that exclude all others.
    `blank_auth`: an empty `AUTH` means none.
    """

    keys: frozenset[str] = frozenset()
    required: tuple[str, ...] = ()
    pairs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    alone: tuple[str, ...] = ()
    blank_auth: bool = True

    def check(self, options: RegistryOptions) -> Sequence[Wrong]:
        """The first rule that these options break."""
        fields = section_of(RegistryOptions).fields
        given = {name for name in fields if getattr(options, name) is not None}
        for name in self.required:
            if name not in given:
                return [Wrong(f'"{name}" is required')]
        for name in self.alone:
            if name in given and given & _EXCLUSIVE != {name}:
                other = min(given & _EXCLUSIVE - {name})
                return [Wrong(f'"{name}" must not be combined with "{other}"')]
        for first, seconds in (*self.pairs, ("clientcert", ("clientkey",))):
            found = [name for name in seconds if name in given]
            if len(found) != (first in given):
                one = " or ".join(f'"{name}"' for name in seconds)
                return [Wrong(f'"{first}" and {one} are required together' + (", one of them" if found[1:] else ""))]
        if "auth" in given and not options.auth and not self.blank_auth:
            return [Wrong('"auth" is not allowed to be empty')]
        return []


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.upper().split())


_LOGIN = (("login", ("password",)),)
BASIC = Shape(_keys("login password auth"), pairs=_LOGIN, alone=("auth",))
TOKEN = Shape(
    _keys("login password token auth"), pairs=(("login", ("password", "token")),), alone=("auth",), blank_auth=False
)
SELF_HOSTED = Shape(_keys("url authurl login password auth"), required=("url",), pairs=_LOGIN, alone=("auth",))
USER_TOKEN = Shape(_keys("username token"), pairs=(("username", ("token",)),))
QUAY = Shape(_keys("namespace account token"), pairs=(("namespace", ("account",)), ("account", ("token",))))
ECR = Shape(
    _keys("accesskeyid secretaccesskey region"),
    pairs=(("accesskeyid", ("secretaccesskey",)), ("secretaccesskey", ("region",))),
)
ACR = Shape(_keys("clientid clientsecret"), required=("clientid", "clientsecret"))
GOOGLE = Shape(_keys("clientemail privatekey"), pairs=(("clientemail", ("privatekey",)),))
MAU = Shape(_keys("token url authurl"))
GITLAB = replace(MAU, required=("token",))
DOCR = Shape(_keys("login password token auth"))
IBMCR = Shape(_keys("login password auth apikey"), pairs=_LOGIN, alone=("auth", "apikey"))


@dataclass(frozen=True)
class Credentials:
    """A user and a password or token, for the registry and for a pull by the Engine."""

    username: str
    password: Secret

    @property
    def id(self) -> str:
        """Names these credentials in cache keys without revealing them."""
        text = f"{self.username}\0{self.password.reveal()}".encode()
        return hashlib.sha256(text).hexdigest()[:16]

    def basic(self) -> str:
        """The value of a Basic Authorization header."""
        return aiohttp.encode_basic_auth(self.username, self.password.reveal(), encoding="utf-8")


Rule = Callable[[RegistryOptions], Credentials | None]
ANONYMOUS = "anonymous"


def none(options: RegistryOptions) -> Credentials | None:
    """This type signs in by other means, or never."""
    del options
    return None


def login(options: RegistryOptions) -> Credentials | None:
    """`login` and `password`, or decoded `auth`."""
    return _pair(options.login, options.password) or _decoded(options)


def docker(options: RegistryOptions) -> Credentials | None:
    """`login` with `password` or `token`, or decoded `auth`."""
    return _pair(options.login, options.password or options.token) or _decoded(options)


def docr(options: RegistryOptions) -> Credentials | None:
    """DigitalOcean: any user goes with a token."""
    return _pair(options.login or "doctl", options.token or options.password) or _decoded(options)


def ibm(options: RegistryOptions) -> Credentials | None:
    """An API key has its own user name."""
    return _pair("iamapikey", options.apikey) or login(options)


def user_token(options: RegistryOptions) -> Credentials | None:
    """`username` and `token`."""
    return _pair(options.username, options.token)


def gitlab(options: RegistryOptions) -> Credentials | None:
    """Any non-empty user is accepted with an access token; some engines require one."""
    return _pair("oauth2", options.token)


def acr(options: RegistryOptions) -> Credentials | None:
    """A service principal."""
    return _pair(options.clientid, options.clientsecret)


def quay(options: RegistryOptions) -> Credentials | None:
    """A robot account."""
    return _pair(f"{options.namespace}+{options.account}", options.token)


def google(options: RegistryOptions) -> Credentials | None:
    """A service account as JSON key; a key from an environment variable carries a literal backslash-n."""
    if options.clientemail is None or options.privatekey is None:
        return None
    document = {
        "type": "service_account",
        "client_email": options.clientemail,
        "private_key": options.privatekey.reveal().replace("\\n", "\n"),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return Credentials("_json_key", Secret(json.dumps(document)))


def _pair(username: str | None, password: Secret | None) -> Credentials | None:
    return Credentials(username, password) if username and password else None


def _decoded(options: RegistryOptions) -> Credentials | None:
    """User and password of base64 `user:password`; None if it is not of that form."""
    if not options.auth:
        return None
    try:
        user, _, password = base64.b64decode(options.auth.reveal(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return _pair(user, Secret(password))

"""Authorization tokens of private ECR registries: one signed POST, no SDK (registries.md §3.3). Pure: builds and reads.

Keeping the tokens is the work of `sign_in.TokenBroker`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
from yarl import URL

from drydock.core.errors import RegistryAuthFailed, RegistryError
from drydock.core.secret import Secret
from drydock.http.client import Answer
from drydock.registries.errors import clean
from drydock.registries.instances import Instance
from drydock.registries.options import Credentials
from drydock.registries.transport import RegistryRequest

TARGET = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
CONTENT_TYPE = "application/x-amz-json-1.1"
LIFE_MS = 12 * 3600 * 1000
MARGIN_MS = 5 * 60 * 1000
"""A token that ends sooner is renewed: a pull that was given it must still begin."""
CAP = 64 * 1024

Key = tuple[str, str, str]
"""Access key, its secret, and region."""


def key_of(instance: Instance) -> Key:
    """What tokens of an instance are kept by."""
    options = instance.options
    key_id, secret = options.accesskeyid or Secret(""), options.secretaccesskey or Secret("")
    return key_id.reveal(), secret.reveal(), options.region or ""


def request(key: Key, about: RegistryRequest, now_ms: int) -> RegistryRequest:
    """The request for a token, on behalf of the same pass."""
    key_id, secret, region = key
    host = f"api.ecr.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
    headers = signed_headers(host, region, key_id, secret, b"{}", datetime.fromtimestamp(now_ms / 1000, UTC))
    return replace(
        about,
        method="POST",
        url=URL(f"https://{host}/"),
        headers=headers,
        cap=CAP,
        kind="token",
        guarded=False,
        body=b"{}",
    )


def read(answer: Answer, instance_id: str, now_ms: int) -> tuple[int, Secret]:
    """When the token ends, in epoch ms, and the token. Raises `RegistryError` and its children."""
    try:
        document = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        document = {}
    if answer.status != 200:
        kind = clean(document.get("__type") or f"HTTP {answer.status}")
        message = clean(document.get("message") or document.get("Message") or "")
        error = RegistryAuthFailed if answer.status in (400, 401, 403) else RegistryError
        raise error(f"Authentication failed for registry {instance_id}: {kind} {message}".rstrip())
    entries = document.get("authorizationData")
    first = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}
    token = first.get("authorizationToken")
    if not isinstance(token, str) or not token:
        raise RegistryAuthFailed("ECR authorization token is missing")
    ends = first.get("expiresAt")
    ends_ms = round(float(ends) * 1000) if isinstance(ends, int | float) else 0
    # emulators answer with a date in the past, then twelve hours count
    return ends_ms if ends_ms > now_ms else now_ms + LIFE_MS, Secret(token)


def credentials_of(token: Secret) -> Credentials:
    """User and password for a pull by the Engine."""
    try:
        username, colon, password = base64.b64decode(token.reveal(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        username = colon = password = ""
    if not colon or not username or not password:
        raise RegistryAuthFailed("ECR authorization token is malformed")
    return Credentials(username, Secret(password))


def signed_headers(
    host: str, region: str, key_id: str, secret: str, body: bytes, now: datetime, *, service: str = "ecr"
) -> dict[str, str]:
    """Headers of a POST to `/` signed by AWS Signature Version 4."""
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    headers = {"content-type": CONTENT_TYPE, "host": host, "x-amz-date": stamp, "x-amz-target": TARGET}
    names = ";".join(headers)
    canonical = "\n".join(
        ["POST", "/", "", *(f"{name}:{value}" for name, value in headers.items()), "", names, _sha256(body)]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, _sha256(canonical.encode())])
    signature = hmac.new(signing_key(secret, stamp[:8], region, service), text.encode(), hashlib.sha256).hexdigest()
    credential = f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "Authorization": credential}


def signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The key derived for one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

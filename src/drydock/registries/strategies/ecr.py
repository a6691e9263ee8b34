"""Authorization tokens of private ECR registries: one signed POST, no SDK (registries.md §3.3)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime

import msgspec
from yarl import URL

from drydock.clock import Clock
from drydock.core.errors import RegistryAuthFailed, RegistryError
from drydock.core.secret import Secret
from drydock.registries.credentials import Credentials
from drydock.registries.faults import clean
from drydock.registries.instances import Instance
from drydock.registries.transport import Ask, Call, Transport
from drydock.registries.wire import Answer
from drydock.single_flight import SingleFlight

TARGET = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
CONTENT_TYPE = "application/x-amz-json-1.1"
LIFE_MS = 12 * 3600 * 1000
MARGIN_MS = 5 * 60 * 1000
CAP = 64 * 1024


class EcrTokens:
    """Tokens by access key and region, asked for once, kept until shortly before they expire."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._kept: dict[tuple[str, str, str], tuple[int, Secret]] = {}
        self._flights: SingleFlight[Secret] = SingleFlight()

    async def close(self) -> None:
        """Cancel running requests."""
        await self._flights.close()

    async def header(self, instance: Instance, host: str, call: Call) -> str:
        """The Authorization header for `/v2`. Raises `RegistryError` and its children."""
        del host
        return f"Basic {(await self._token(instance, call)).reveal()}"

    async def credentials(self, instance: Instance, call: Call) -> Credentials:
        """User and password for a pull by the Engine."""
        token = (await self._token(instance, call)).reveal()
        try:
            username, colon, password = base64.b64decode(token, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            username = colon = password = ""
        if not colon or not username or not password:
            raise RegistryAuthFailed("ECR authorization token is malformed")
        return Credentials(username, Secret(password))

    async def _token(self, instance: Instance, call: Call) -> Secret:
        key = instance.get("accesskeyid"), instance.get("secretaccesskey"), instance.get("region")
        expires, token = self._kept.get(key, (0, Secret("")))
        if token and self._clock.now_ms() < expires - MARGIN_MS:
            return token
        return await self._flights.run(key, lambda: self._fetch(key, call))

    async def _fetch(self, key: tuple[str, str, str], call: Call) -> Secret:
        region = key[2]
        host = f"api.ecr.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        headers = signed_headers(host, region, key[0], key[1], b"{}", now)
        ask = Ask("POST", URL(f"https://{host}/"), headers, CAP, "token", body=b"{}")
        token, expires = self._read(await self._transport.send(ask, call), call)
        self._kept[key] = expires, token
        return token

    def _read(self, answer: Answer, call: Call) -> tuple[Secret, int]:
        document = _decode(answer)
        if answer.status != 200:
            kind = clean(document.get("__type") or f"HTTP {answer.status}")
            message = clean(document.get("message") or document.get("Message") or "")
            error = RegistryAuthFailed if answer.status in (400, 401, 403) else RegistryError
            raise error(f"Authentication failed for registry {call.instance.id}: {kind} {message}".rstrip())
        entries = document.get("authorizationData")
        first = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}
        token = first.get("authorizationToken")
        if not isinstance(token, str) or not token:
            raise RegistryAuthFailed("ECR authorization token is missing")
        return Secret(token), self._expires(first.get("expiresAt"))

    def _expires(self, value: object) -> int:
        """Epoch ms; emulators answer with a date in the past, then twelve hours count."""
        now = self._clock.now_ms()
        given = round(float(value) * 1000) if isinstance(value, (int, float)) else 0
        return given if given > now else now + LIFE_MS


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


def _decode(answer: Answer) -> dict[str, object]:
    try:
        document = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    return document if isinstance(document, dict) else {}

"""Real registries (docker-registry) on the loopback: open, with a password, with tokens, with TLS, as a mirror.

Pushing images to them is `images.py`.
"""

from __future__ import annotations

import http.client
import json
import pathlib
import secrets
import socket
import ssl
import subprocess
from collections.abc import Mapping
from typing import Any

import bcrypt

from kit.wait import eventually


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RegistryServer:
    """One docker-registry. `host` (`127.0.0.1:port`) is the name under which Engine and product know it.

    `auth` is docker-registry's own `auth` document (see `basic_auth`, `token_auth`), `tls` a pair of PEM files,
    `mirror_of` the base URL of a registry that this one caches. The data outlives `stop`.
    """

    def __init__(
        self,
        home: pathlib.Path,
        *,
        auth: Mapping[str, Any] | None = None,
        tls: tuple[pathlib.Path, pathlib.Path] | None = None,
        mirror_of: str | None = None,
        address: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        self.home = home
        self.address = address
        self.port = port or free_port()
        self.host = f"{address}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self._auth, self._tls, self._mirror_of = auth, tls, mirror_of

    def start(self) -> RegistryServer:
        """Start it and wait until `/v2/` answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        settings = self.home / "config.yml"
        settings.write_text(json.dumps(self._settings()))  # JSON is YAML
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._answers, "docker-registry", process=self.process)
        return self

    def stop(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait()

    def connection(self) -> http.client.HTTPConnection:
        """A connection to it; certificates are not verified."""
        if self._tls is None:
            return http.client.HTTPConnection(self.address, self.port, timeout=30)
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection(self.address, self.port, timeout=30, context=context)

    def _answers(self) -> bool:
        connection = self.connection()
        connection.request("GET", "/v2/")
        status = connection.getresponse().status
        connection.close()
        return status in (200, 401)

    def _settings(self) -> dict[str, Any]:
        web: dict[str, Any] = {"addr": self.host, "secret": secrets.token_hex(8)}
        if self._tls:
            web["tls"] = {"certificate": str(self._tls[0]), "key": str(self._tls[1])}
        storage = {
            "delete": {"enabled": True},
            "filesystem": {"rootdirectory": str(self.home / "data")},
            "maintenance": {"uploadpurging": {"enabled": False}},
        }
        document = {"version": 0.1, "log": {"level": "warn", "accesslog": {"disabled": True}}, "storage": storage}
        extra = {"auth": self._auth, "proxy": {"remoteurl": self._mirror_of} if self._mirror_of else None}
        return {**document, "http": web, **{key: value for key, value in extra.items() if value}}


def basic_auth(home: pathlib.Path, user: str, password: str) -> dict[str, Any]:
    """Settings for user name and password; writes the password file into `home`."""
    home.mkdir(parents=True, exist_ok=True)
    line = f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(5)).decode()}\n"
    (home / "htpasswd").write_text(line)
    return {"htpasswd": {"realm": "basic-realm", "path": str(home / "htpasswd")}}


def token_auth(realm: str, certificate: pathlib.Path, *, service: str, issuer: str) -> dict[str, Any]:
    """Settings for a token server at the URL `realm` whose tokens verify against `certificate`."""
    return {"token": {"realm": realm, "service": service, "issuer": issuer, "rootcertbundle": str(certificate)}}

"""TLS contexts and their files (registries.md §6.7): one context per distinct setting, rebuilt when a file changes."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from drydock.core.errors import RegistryNetworkError
from drydock.registries.instances import Instance

ContextFactory = Callable[[], ssl.SSLContext]


@dataclass(frozen=True)
class TlsSettings:
    """What an instance says about TLS; equal settings share a context."""

    cafile: str = ""
    insecure: bool = False
    clientcert: str = ""
    clientkey: str = ""

    @classmethod
    def of(cls, instance: Instance) -> TlsSettings:
        """The settings of an instance."""
        get = instance.get
        return cls(get("cafile"), get("insecure").lower() == "true", get("clientcert"), get("clientkey"))

    def without_client(self) -> TlsSettings:
        """For hosts that are not the instance's own authority: the client certificate stays at home."""
        return TlsSettings(self.cafile, self.insecure)

    def stamp(self) -> tuple[float, ...]:
        """Changes when one of the files does."""
        return tuple(_mtime(path) for path in (self.cafile, self.clientcert, self.clientkey) if path)


class TlsContexts:
    """Builds and keeps contexts. `base` makes a context that trusts the system's roots."""

    def __init__(self, base: ContextFactory | None = None) -> None:
        self._base = base or ssl.create_default_context
        self._made: dict[TlsSettings, tuple[tuple[float, ...], ssl.SSLContext]] = {}

    def get(self, settings: TlsSettings) -> ssl.SSLContext:
        """The context of these settings. Raises `RegistryNetworkError` when a file cannot be used."""
        stamp = settings.stamp()
        known = self._made.get(settings)
        if known is None or known[0] != stamp:
            known = stamp, self._make(settings)
            self._made[settings] = known
        return known[1]

    def _make(self, settings: TlsSettings) -> ssl.SSLContext:
        context = self._base()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if settings.cafile:
                context.load_verify_locations(cafile=settings.cafile)
            if settings.clientcert:
                context.load_cert_chain(settings.clientcert, settings.clientkey)
        except OSError as error:
            files = ", ".join(p for p in (settings.cafile, settings.clientcert, settings.clientkey) if p)
            raise RegistryNetworkError(f"TLS files cannot be used ({files}): {error.strerror or error}") from error
        if settings.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _mtime(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0

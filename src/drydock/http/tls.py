"""TLS contexts from files: one context per distinct setting, built again when a file changes (registries.md §6.7)."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class TlsFiles:
    """Which authorities to trust besides the system's, and the client certificate; equal values share a context.

    `insecure`: the server's certificate is not verified.
    """

    cafile: str = ""
    insecure: bool = False
    clientcert: str = ""
    clientkey: str = ""

    @property
    def paths(self) -> list[str]:
        """The files that are named."""
        return [path for path in (self.cafile, self.clientcert, self.clientkey) if path]

    def without_client(self) -> TlsFiles:
        """For hosts that the client certificate was not made for."""
        return TlsFiles(self.cafile, self.insecure)


SYSTEM_ROOTS = TlsFiles()


class TlsContexts:
    """Builds and keeps contexts. `roots` makes one that trusts the system's authorities."""

    def __init__(self, roots: Callable[[], ssl.SSLContext] = ssl.create_default_context) -> None:
        self._roots = roots
        self._made: dict[TlsFiles, tuple[list[float], ssl.SSLContext]] = {}

    def get(self, files: TlsFiles) -> ssl.SSLContext:
        """The context of these files. Raises OSError (`ssl.SSLError` too) when one cannot be used."""
        written = [os.stat(path).st_mtime if os.path.exists(path) else 0.0 for path in files.paths]
        known = self._made.get(files)
        if known is not None and known[0] == written:
            return known[1]
        context = self._roots()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if files.cafile:
            context.load_verify_locations(cafile=files.cafile)
        if files.clientcert:
            context.load_cert_chain(files.clientcert, files.clientkey or None)
        if files.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._made[files] = written, context
        return context

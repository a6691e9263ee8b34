"""The standard proxy variables (registries.md §1.6): which proxy, if any, makes a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yarl import URL


@dataclass(frozen=True)
class Proxies:
    """Proxy per scheme, and the hosts that go without."""

    http: str | None = None
    https: str | None = None
    no_proxy: str = ""

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Proxies:
        """From HTTP_PROXY, HTTPS_PROXY and NO_PROXY, either case."""

        def read(name: str) -> str:
            return variables.get(name.lower()) or variables.get(name) or ""

        return cls(read("HTTP_PROXY") or None, read("HTTPS_PROXY") or None, read("NO_PROXY"))

    def for_url(self, url: URL) -> str | None:
        """The proxy for a request to this URL."""
        proxy = self.https if url.scheme == "https" else self.http
        if proxy is None:
            return None
        return None if self._bypassed(url) else proxy

    def _bypassed(self, url: URL) -> bool:
        """NO_PROXY: names with or without leading dot (their sub-domains too), optionally with a port, or `*`."""
        host, port = (url.host or "").lower(), str(url.port)
        for entry in self.no_proxy.lower().replace(" ", "").split(","):
            name, colon, wanted = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
            name = name.strip("[]").removeprefix("*").removeprefix(".")
            if entry == "*" or (name and (host == name or host.endswith(f".{name}")) and (not colon or wanted == port)):
                return True
        return False

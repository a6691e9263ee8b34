"""The certified OpenID Connect provider of npm, with TLS of our own, and how a test signs in there."""

from __future__ import annotations

import html
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import trustme

HERE = Path(__file__).parent
MARKER = HERE / "node_modules" / ".installed"


def available() -> str | None:
    """Why the provider cannot be started here; None when it can."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not installed"
    return None


def installed() -> bool:
    """Whether the locked packages are there."""
    return MARKER.exists() and MARKER.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime


def install() -> None:
    """Install the locked packages, once per machine."""
    if not installed():
        subprocess.run(
            ["npm", "ci", "--no-fund", "--no-audit", "--ignore-scripts"], cwd=HERE, check=True, capture_output=True
        )
        MARKER.touch()


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class IdentityProvider:
    """A running provider. `authority` is the CA file that its certificate needs."""

    def __init__(self, folder: Path, callback: str) -> None:
        install()
        self.port = free_port()
        self.authority = folder / "idp-ca.pem"
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(self.authority))
        issued = ca.issue_cert("localhost", "127.0.0.1")
        key, cert = folder / "idp.key", folder / "idp.pem"
        issued.private_key_pem.write_to_path(str(key))
        for index, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(str(cert), append=index > 0)
        self._process = subprocess.Popen(
            ["node", "idp.mjs", str(self.port), callback, str(key), str(cert)],
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.strip() == "ready", line

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def discovery(self) -> str:
        return f"{self.issuer}/.well-known/openid-configuration"

    def tls(self) -> ssl.SSLContext:
        """A context that trusts the provider."""
        return ssl.create_default_context(cafile=str(self.authority))

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(10)


async def sign_in(provider: IdentityProvider, url: str, user: str) -> str:
    """Do what a person does in the browser; gives the address to which the provider sends the browser back."""
    home = urlsplit(provider.issuer).netloc
    async with httpx.AsyncClient(verify=provider.tls()) as browser:
        answer = await browser.get(url)
        for _ in range(12):
            if answer.is_redirect:
                target = urljoin(str(answer.url), answer.headers["location"])
                if urlsplit(target).netloc != home:
                    return target
                answer = await browser.get(target)
                continue
            action, data = _form(str(answer.url), answer.text, user)
            answer = await browser.post(action, data=data)
    raise AssertionError("the provider never came back")


def _form(url: str, page: str, user: str) -> tuple[str, dict[str, str]]:
    """The form that the provider shows, filled in."""
    match = re.search(r'<form[^>]*action="([^"]+)"', page)
    assert match is not None, page[:500]
    login = 'value="login"' in page
    data = {"prompt": "login", "login": user, "password": "x"} if login else {"prompt": "consent"}
    return urljoin(url, html.unescape(match[1])), data

"""Fake programs that record how they were called, and a whole security room over a real fleet and store."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import sys
from typing import Any

from drydock.events import Bus, Event
from drydock.fleet.fleet import Fleet
from drydock.hosts.host import Hosts
from drydock.kernel import Kernel
from drydock.security.room import Needs, Security
from drydock.security.scanners.trivy import TrivySettings
from drydock.security.security_gate import Gate
from drydock.security.service import SecurityService
from drydock.security.settings import SecuritySettings
from drydock.security.signatures.base import SignatureSource
from drydock.security.signatures.cosign import CosignSettings
from drydock.store.settings import StoreSettings
from drydock.store.store import Store
from drydock.supervisor import Supervisor
from fakes.audit import RecordedAudit
from kit.clock import SkippingClock
from kit.configured import configured

PROGRAM = """#!{python}
import json, os, pathlib, sys, time
home = pathlib.Path({home!r})
call = {{"argv": sys.argv[1:], "env": dict(os.environ)}}
login = os.environ.get("DOCKER_CONFIG")
if login and (pathlib.Path(login) / "config.json").exists():
    call["login"] = json.loads((pathlib.Path(login) / "config.json").read_text())
    call["login_mode"] = oct((pathlib.Path(login) / "config.json").stat().st_mode & 0o777)
    call["folder_mode"] = oct(pathlib.Path(login).stat().st_mode & 0o777)
note = home / "calls" / f"{{time.time_ns()}}-{{os.getpid()}}.json"
written = note.with_suffix(".new")
written.write_text(json.dumps(call))
written.rename(note)  # at once: a test may read at any moment
held = home / "held"
while held.exists() and held.read_text() in sys.argv:
    time.sleep(0.005)
{body}
"""


class FakeProgram:
    """An executable: `path` to call it, `calls` what it was asked."""

    def __init__(self, home: pathlib.Path, name: str, body: str) -> None:
        self.home = home / name
        (self.home / "calls").mkdir(parents=True)
        self.path = str(self.home / name)
        self.write(body)

    def write(self, body: str) -> None:
        """Change what it does; `argv` and `out(data)` are at hand."""
        helpers = "argv = sys.argv[1:]\nout = lambda data: (sys.stdout.write(data), sys.stdout.flush())\n"
        text = PROGRAM.format(python=sys.executable, home=str(self.home), body=helpers + body)
        pathlib.Path(self.path).write_text(text)
        pathlib.Path(self.path).chmod(0o755)

    def hold(self, word: str) -> None:
        """From now on calls whose arguments hold `word` are recorded and wait for `release`."""
        beside = self.home / "holding"
        beside.write_text(word)
        beside.rename(self.home / "held")

    def release(self) -> None:
        """Let them go on. The file stays: a program that has just seen it is about to read it."""
        self.hold("")

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(note.read_text()) for note in sorted((self.home / "calls").glob("*.json"))]

    def argvs(self, word: str) -> list[list[str]]:
        """The argument lists that hold `word`."""
        return [call["argv"] for call in self.calls if word in call["argv"]]


@dataclasses.dataclass
class Room:
    """A security room over a real fleet and store, with a fake scanner program."""

    trivy: FakeProgram
    fleet: Fleet
    store: Store
    bus: Bus
    clock: SkippingClock
    supervisor: Supervisor
    audits: RecordedAudit
    folder: pathlib.Path
    events: list[Event] = dataclasses.field(default_factory=list)
    made: Security | None = None

    def build(
        self, *, cosign: CosignSettings | None = None, source: SignatureSource | None = None, **settings: Any
    ) -> Security:
        """Build it (again) with these `SecuritySettings`; with `cosign` signatures are verified."""
        own = SecuritySettings(**{"scanner": "trivy", "verify_signatures": cosign is not None, **settings})
        trivy, store = TrivySettings(command=self.trivy.path, timeout_s=60), StoreSettings(path=str(self.folder))
        kernel = Kernel(self.clock, self.bus, self.supervisor, self.store, self.fleet, self.audits)
        needs = Needs(Hosts([]), {"PATH": os.environ["PATH"]}, signature_source=source)
        self.made = Security.build(kernel, configured(own, trivy, cosign or CosignSettings(), store), needs)
        return self.made

    @property
    def security(self) -> SecurityService:
        assert self.made is not None
        return self.made.service

    @property
    def gate(self) -> Gate:
        assert self.made is not None
        return self.made.gate

    def scans(self) -> list[str]:
        """References that the scanner was called with, in order."""
        return [argv[-1] for argv in self.trivy.argvs("--scanners")]

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def report(*severities: str, digests: tuple[str, ...] = (), start: int = 1) -> str:
    """What Trivy prints for findings of these severities."""
    found = [
        {"VulnerabilityID": f"CVE-{start + n}", "PkgName": "p", "InstalledVersion": "1", "Severity": severity}
        for n, severity in enumerate(severities)
    ]
    return json.dumps(
        {
            "Metadata": {"RepoDigests": [f"r@{digest}" for digest in digests]},
            "Results": [{"Target": "app", "Vulnerabilities": found}],
        }
    )


def prints(text: str, **other: str) -> str:
    """Body of a fake Trivy: this report for every image, or another one for an image whose reference has the word."""
    lines = ["if '--help' in argv or 'version' in argv or '--download-db-only' in argv: sys.exit(0)"]
    lines += [f"if {word!r} in argv[-1]: out({answer!r}); sys.exit(0)" for word, answer in other.items()]
    return "\n".join([*lines, f"out({text!r})"])

"""`drydock check`: one check of an Engine, now, as a table (cli.md)."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec
from rich.console import Console
from rich.status import Status
from rich.table import Table

from drydock import log_setup
from drydock.app.settings import SCHEMA
from drydock.cli.config import report
from drydock.cli.oneshot import Look, NoEngine, look, with_family
from drydock.config.load import Settings, load
from drydock.core.errors import ConfigError
from drydock.core.model import Container, ContainerView
from drydock.core.times import from_iso
from drydock.core.trace import HostRequests, Trace
from drydock.core.view import ViewContext, view
from drydock.fleet.settings import FleetSettings
from drydock.registries.poll import Poll

SEVERITIES = ("major", "minor", "patch", "digest")
RANK = {"error": 0, "major": 1, "minor": 2, "patch": 3, "prerelease": 4, "digest": 5, "tag": 6, "insight": 7, "": 8}
STYLES = {"error": "red", "major": "bold yellow", "minor": "yellow", "patch": "green", "digest": "cyan"}
OK, UPDATES, UNCHECKED, NO_ENGINE = 0, 1, 2, 3
NOTE_LENGTH = 70
PIPED_WIDTH = 500


@dataclass(frozen=True)
class CheckOptions:
    """The command's arguments."""

    names: tuple[str, ...] = ()
    host: str | None = None
    everything: bool = False
    family: str | None = None
    as_json: bool = False
    quiet: bool = False
    fail_on: str = "any"
    cache: bool = True


@dataclass
class Progress:
    """What is known so far; survives an interruption."""

    total: int = 0
    done: dict[str, tuple[Container, Trace]] = field(default_factory=dict)
    poll: Poll | None = None
    status: Status | None = None

    def began(self, poll: Poll) -> None:
        """The questions go out now."""
        self.poll = poll

    def checked(self, container: Container, trace: Trace) -> None:
        """One container more."""
        self.done[container.id] = (container, trace)
        if self.status is not None:
            self.status.update(self.line())

    def line(self) -> str:
        """Containers done, requests made, the host that was asked most."""
        hosts = self.requests()
        busiest = max(hosts, key=lambda host: host.requests).host if hosts else "…"
        asked = sum(host.requests for host in hosts)
        return f"{len(self.done)}/{self.total} containers · {asked} requests · {busiest}"

    def requests(self) -> list[HostRequests]:
        """Requests of this check by host."""
        return [host for host in self.poll.requests() if host.requests] if self.poll else []


def run(options: CheckOptions) -> int:
    """The whole command; its exit status as cli.md says."""
    if options.fail_on not in (*SEVERITIES, "any", "never"):
        print("error: --fail-on is major, minor, patch, digest, any or never", file=sys.stderr)
        return UNCHECKED
    loaded = load(os.environ, SCHEMA)
    if loaded.settings is None:
        report(loaded.problems)
        return UNCHECKED
    log_setup.configure(os.environ.get("DD_LOG_LEVEL", "fatal"), "text")
    began, progress = time.monotonic(), Progress()
    try:
        asyncio.run(_check(loaded.settings, options, progress))
    except KeyboardInterrupt:
        print("interrupted: showing what is known", file=sys.stderr)
    except NoEngine as error:
        print(f"error: {error}\nSet --host or DOCKER_HOST.", file=sys.stderr)
        return NO_ENGINE
    except ConfigError as error:
        print(f"error: {error.message}" + (f"\n{error.hint}" if error.hint else ""), file=sys.stderr)
        return UNCHECKED
    now_ms = time.time_ns() // 1_000_000
    context = ViewContext(maturity_threshold_days=loaded.settings[FleetSettings].maturity_threshold_days)
    views = [view(container, now_ms, context) for container, _ in progress.done.values()]
    views.sort(key=lambda v: (RANK.get(kind_of(v), 8), v.name.lower(), v.id))
    _print(options, views, progress, int((time.monotonic() - began) * 1000))
    if any(v.error is not None for v in views) or len(progress.done) < progress.total:
        return UNCHECKED
    return UPDATES if any(_counts(v, options.fail_on) for v in views) else OK


async def _check(settings: Settings, options: CheckOptions, progress: Progress) -> None:
    console = Console(stderr=True)
    shown = console.is_terminal and not options.quiet and not options.as_json
    async with look(settings, options.host, progress, cache=options.cache) as found:
        containers = chosen(found, options)
        progress.total = len(containers)
        if not shown:
            await found.checker.check(containers, "cli")
            return
        with console.status("looking…") as progress.status:
            await found.checker.check(containers, "cli")


def chosen(found: Look, options: CheckOptions) -> list[Container]:
    """The requested containers; ConfigError names the missing ones."""
    containers = with_family(found.containers, options.family)
    if not options.names:
        return containers
    wanted = set(options.names)
    missing = wanted - {name for c in containers for name in (c.name, c.id, c.id[:12])}
    if missing:
        raise ConfigError(f"No such container: {', '.join(sorted(missing))}")
    return [c for c in containers if wanted & {c.name, c.id, c.id[:12]}]


def kind_of(container: ContainerView) -> str:
    """The word of the `kind` column."""
    if container.error is not None:
        return "error"
    if container.update_available:
        diff = container.update_kind.semver_diff
        return diff if diff != "unknown" else ("digest" if container.update_kind.kind == "digest" else "tag")
    return "insight" if container.result is not None and container.result.update_insight is not None else ""


def _counts(container: ContainerView, fail_on: str) -> bool:
    """Whether this update is at or above the wanted severity."""
    if fail_on == "never" or not container.update_available:
        return False
    kind = kind_of(container)
    if fail_on == "any" or kind not in SEVERITIES:
        return True
    return SEVERITIES.index(kind) <= SEVERITIES.index(fail_on)


def _print(options: CheckOptions, views: list[ContainerView], progress: Progress, took_ms: int) -> None:
    if options.quiet:
        return
    if options.as_json:
        document = {
            "containers": views,
            "summary": _summary(views, progress),
            "requests": {host.host: host.requests for host in progress.requests()},
            "tookMs": took_ms,
        }
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    shown = [v for v in views if kind_of(v) or options.everything]
    if shown:
        table = Table(box=None, pad_edge=False, header_style="bold", collapse_padding=True)
        for column in ("name", "current", "newer", "kind", "published", "note"):
            table.add_column(column, no_wrap=column != "note")
        for container in shown:
            table.add_row(*_row(container), style=STYLES.get(kind_of(container), ""))
        console.print(table)
    if hidden := len(views) - len(shown):
        console.print(f"{hidden} up to date (--all lists them)", style="dim")
    s, hosts = _summary(views, progress), progress.requests()
    asked = sum(host.requests for host in hosts)
    pulls = progress.poll.counted_pulls() if progress.poll else 0  # manifests of Docker Hub, which has a pull quota
    console.print(
        f"{_count(s['containers'], 'container')}, {_count(s['updates'], 'update')} ({s['major']} major), "
        f"{s['newerBeyondPinned']} newer beyond a pinned tag, {s['unchecked']} could not be checked · "
        f"{_count(asked, 'request')} to {_count(len(hosts), 'registry', 'registries')}, "
        f"{pulls} counted pulls · {took_ms / 1000:.1f} s"
    )


def _row(container: ContainerView) -> tuple[str, ...]:
    kind, result = kind_of(container), container.result
    insight = result.update_insight if result else None
    newer = "–"
    if container.update_available:
        newer = _short(container.update_kind.remote_value or (result.tag if result else None) or "–")
    elif insight is not None and kind == "insight":
        newer = insight.tag
    published, since = "", from_iso(result.published_at) if result else None
    if since is not None and container.update_available:
        days = (time.time_ns() // 1_000_000 - since) // 86_400_000
        published = f"{days} d ago" if days > 0 else "today"
    # first words of the reason: failed check, suppressed, local image, downgrade
    if container.error is not None:
        note = container.error.message
    elif not container.update_available and container.update_kind.kind != "unknown":
        note = "held back by policy"
    else:
        note = (result.no_update_reason if result else None) or ""
    return (
        container.name,
        _short(container.image.tag.value),
        newer,
        kind or "–",
        published,
        note if len(note) <= NOTE_LENGTH else note[: NOTE_LENGTH - 1] + "…",
    )


def _short(text: str) -> str:
    return text[:19] if text.startswith("sha256:") else text


def _summary(views: list[ContainerView], progress: Progress) -> dict[str, Any]:
    kinds = Counter(kind_of(v) for v in views)
    return {
        "containers": len(views),
        "updates": sum(v.update_available for v in views),
        "major": sum(v.update_available and v.update_kind.semver_diff == "major" for v in views),
        "newerBeyondPinned": kinds["insight"],
        "unchecked": kinds["error"] + progress.total - len(progress.done),
        "upToDate": kinds[""],
    }


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"

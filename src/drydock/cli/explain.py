"""`drydock explain`: the decision trace of one container (explain.md), from a server or from one direct check of an Engine."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
from rich.console import Console

from drydock import log_setup
from drydock.app.settings import SCHEMA
from drydock.cli.check import PIPED_WIDTH, CheckOptions, Progress, chosen
from drydock.cli.client import ClientError, client
from drydock.cli.config import report
from drydock.cli.oneshot import NoEngine, look
from drydock.config.load import load
from drydock.core.errors import ConfigError
from drydock.core.explain import explain
from drydock.core.view import ViewContext, view
from drydock.fleet.settings import FleetSettings

FOUND, NOT_FOUND = 0, 2
MARKS = {"pass": ("✓", "green"), "stop": ("■", "yellow"), "skip": ("·", "dim"), "fail": ("✗", "red")}


@dataclass(frozen=True)
class ExplainOptions:
    """The command's arguments."""

    name: str
    host: str | None = None
    server: str | None = None
    token: str | None = None
    token_file: str | None = None
    as_json: bool = False
    fresh: bool = False
    everything: bool = False


def run(options: ExplainOptions) -> int:
    """The whole command: 0 found, 2 not found or not checkable."""
    try:
        document = _from_server(options) if options.server else _from_engine(options)
    except (ClientError, NoEngine) as error:
        print(f"error: {error}", file=sys.stderr)
        return NOT_FOUND
    except ConfigError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return NOT_FOUND
    if options.as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    else:
        _print(document, everything=options.everything)
    return FOUND


def _from_server(options: ExplainOptions) -> dict[str, Any]:
    asked = client(options.server or "", options.token, options.token_file)
    containers = asked.get("/api/v1/containers")["data"]
    found = next((c for c in containers if options.name in (c["name"], c["id"], c["id"][:12])), None)
    if found is None:
        raise ClientError(f"The server knows no container {options.name!r}")
    query = {"fresh": "true"} if options.fresh else {}
    document: dict[str, Any] = asked.get(f"/api/v1/containers/{found['id']}/explain", **query)
    return document


def _from_engine(options: ExplainOptions) -> dict[str, Any]:
    loaded = load(os.environ, SCHEMA)
    if loaded.settings is None:
        report(loaded.problems)
        raise ConfigError("The configuration cannot be used")
    log_setup.configure(os.environ.get("DD_LOG_LEVEL", "fatal"), "text")
    settings, progress = loaded.settings, Progress()

    async def check() -> None:
        async with look(settings, options.host, progress) as found:
            containers = chosen(found, CheckOptions(names=(options.name,)))
            await found.checker.check(containers[:1], "cli")

    asyncio.run(check())
    container, trace = next(iter(progress.done.values()))
    now_ms = time.time_ns() // 1_000_000
    context = ViewContext(maturity_threshold_days=settings[FleetSettings].maturity_threshold_days)
    explanation = explain(container, trace, view(container, now_ms, context), None, now_ms)
    document: dict[str, Any] = msgspec.to_builtins(explanation)
    return document


def _print(document: dict[str, Any], *, everything: bool) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    console.print(f"[bold]{document['name']}[/bold] · {document['image']} · {document['verdict']}")
    console.print(document["summary"], markup=False)
    console.print()
    for step in document["steps"]:
        mark, style = MARKS[step["outcome"]]
        console.print(f"[{style}]{mark}[/{style}] {step['stage']:<12} ", end="")
        console.print(step["reason"], markup=False)
    if tags := document.get("tags"):
        console.print(
            f"\n{tags['listed']} tags listed, {tags['considered']} considered, chosen: {tags.get('chosen') or '–'}"
        )
        removed = tags.get("removed", [])
        if everything:
            for tag in removed:
                console.print(f"  {tag['tag']}: {tag['reason']} ({tag['rule']})", markup=False)
        else:
            counts = tags.get("removedByRule") or Counter(tag["rule"] for tag in removed)
            for rule, count in sorted(counts.items(), key=lambda item: -item[1]):
                console.print(f"  {count} × {rule}", markup=False)
    for host, use in document["requests"].items():
        left = f", {use['quotaLeft']} pulls left" if use.get("quotaLeft") is not None else ""
        console.print(f"{host}: {use['requests']} requests, {use['cached']} from cache{left}", style="dim")

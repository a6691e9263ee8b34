"""`drydock stats`: what the running containers use, from a running server; a live table, or one sample (cli.md)."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from drydock.cli.client import Client, ClientError, client

PAUSE_S = 1.0
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
Row = dict[str, Any]


class StatsOptions(msgspec.Struct, frozen=True):
    """The options of the command line."""

    names: tuple[str, ...]
    server: str
    as_json: bool = False
    token: str | None = None
    token_file: str | None = None


def run(options: StatsOptions) -> int:
    """0 after one sample (or Ctrl-C of the live table), 1 with the reason on standard error."""
    try:
        show(client(options.server, options.token, options.token_file), options, Console())
    except ClientError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    return 0


def show(server: Client, options: StatsOptions, console: Console) -> None:
    """Print one sample, or on a terminal a table that is renewed until interrupted. Raises ClientError."""
    rows = sample(server, options.names)
    if options.as_json:
        print(json.dumps({"containers": rows}))
    elif console.is_terminal:
        with Live(table(rows), console=console, auto_refresh=False) as live:
            while True:
                live.update(table(rows), refresh=True)
                time.sleep(PAUSE_S)
                rows = sample(server, options.names)
    else:
        lines = [list(HEADINGS), *(_cells(row) for row in rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
        for line in lines:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def sample(server: Client, names: Sequence[str]) -> list[Row]:
    """One round over all environments, busiest container first; with `names` only these. ClientError for an unknown one."""
    environments = server.get("/api/environments")

    def of(environment: Row) -> list[Row]:
        found = server.get("/api/containers/stats", env=str(environment["id"]))
        return [{"environment": environment["name"], **row} for row in found]

    with ThreadPoolExecutor(max_workers=max(len(environments), 1)) as pool:
        rows = [row for found in pool.map(of, environments) for row in found]
    missing = sorted(set(names) - {row["name"] for row in rows} - {row["id"] for row in rows})
    if missing:
        raise ClientError(f"Not running, or unknown: {', '.join(missing)}")
    wanted = [row for row in rows if not names or row["name"] in names or row["id"] in names]
    return sorted(wanted, key=lambda row: (-row["cpuPercent"], row["name"]))


def table(rows: Sequence[Row]) -> Table:
    """The rows as a table for a terminal."""
    made = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        made.add_column(heading, justify="left" if heading in ("NAME", "HOST") else "right", no_wrap=True)
    for row in rows:
        made.add_row(*_cells(row))
    return made


HEADINGS = ("NAME", "HOST", "CPU %", "MEMORY", "LIMIT", "MEM %", "NET IN", "NET OUT", "READ", "WRITTEN")


def _cells(row: Row) -> list[str]:
    sizes = [size(row[key]) for key in ("networkRx", "networkTx", "blockRead", "blockWrite")]
    return [
        row["name"],
        row["environment"],
        f"{row['cpuPercent']:.2f}",
        size(row["memoryUsage"]),
        size(row["memoryLimit"]) if row["memoryLimit"] else "–",
        f"{row['memoryPercent']:.2f}",
        *sizes,
    ]


def size(count: int) -> str:
    """Bytes as `docker stats` shows memory: `3.21MiB`."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.4g}{UNITS[unit]}"

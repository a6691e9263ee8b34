"""`make bench`: measure everything, print one table, write one file. Exit status 1 when a budget is missed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from bench import auth, listing, observe, security, updates, watching
from bench.report import Figure, show, write

RESULTS = Path(__file__).parent / "results" / "latest.json"
SUITES: dict[str, Callable[[], list[Figure]]] = {
    "command": watching.command_line,
    "idle": watching.idle,
    "check-small": watching.small,
    "check-large": watching.large,
    "list-small": listing.small,
    "list-large": listing.large,
    "log-lines": observe.demultiplexer,
    "log-stalled": observe.stalled,
    "log-viewers": observe.viewers,
    "stats-tick": observe.tick,
    "stats-unseen": observe.unseen,
    "stats-round": observe.host,
    "sign-in": auth.requests,
    "event-fan-out": auth.fan_out,
    "audit-entry": auth.audit,
    "cycles": lambda: watching.cycles(1000),
    "updates": updates.suite,
    "scan-counts": security.counts,
    "scan-memory": security.memory,
    "scan-overview": security.groups,
    "scan-latency": security.latency,
}


def main(names: list[str]) -> int:
    """Run the suites named, or all of them."""
    figures: list[Figure] = []
    for name in names or SUITES:
        print(f"… {name}", flush=True)
        figures += SUITES[name]()
    show(figures)
    write(figures, RESULTS)
    print(f"written to {RESULTS.relative_to(Path.cwd())}")
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

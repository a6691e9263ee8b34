"""`drydock audit verify`: recompute the hash chain of the audit log, without a running server."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from drydock.app.settings import SCHEMA
from drydock.cli.config import report
from drydock.config.load import load
from drydock.core.errors import ConfigError
from drydock.store.audit import Verdict
from drydock.store.location import StoreLocked
from drydock.store.settings import StoreSettings
from drydock.store.store import open_store


def verify(*, as_json: bool) -> int:
    """0: intact; 1: broken; 2: the store cannot be read."""
    loaded = load(os.environ, SCHEMA)
    if loaded.settings is None:
        report(loaded.problems)
        return 2
    settings = loaded.settings[StoreSettings]
    try:
        verdict = asyncio.run(_verdict(settings))
    except StoreLocked:
        print("error: the store is in use; stop the server, or verify a copy of its file", file=sys.stderr)
        return 2
    except ConfigError as error:
        print(f"error: {error.message}" + (f"\n{error.hint}" if error.hint else ""), file=sys.stderr)
        return 2
    if as_json:
        print(msgspec.json.encode(verdict).decode())
        return 0 if verdict.intact else 1
    if verdict.intact:
        print(f"intact: {verdict.entries} entries, head {verdict.head or 'none'}")
        print("Note the head elsewhere: it proves later that nothing before it was changed.")
    else:
        print(f"BROKEN at entry {verdict.broken}: {verdict.reason}")
    if verdict.unchained:
        print(f"{verdict.unchained} older entries were written before the chain began.")
    return 0 if verdict.intact else 1


async def _verdict(settings: StoreSettings) -> Verdict:
    store = await open_store(settings)
    try:
        return await store.audit.verify()
    finally:
        await store.close()

"""Where the store is (platform.md §2.4)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section

DEFAULT_FILE = "drydock.db"


@section("DD_STORE_", "Store", "Where Drydock keeps what must survive a restart.")
class StoreSettings:
    """`DD_STORE_*`."""

    path: str = option("PATH", kinds.path(), default="/store", help="Folder of the store; created when missing.")
    file: str = option("FILE", kinds.path(), default=DEFAULT_FILE, help="Name of the SQLite file inside that folder.")
    url: str | None = option(
        "URL",
        kinds.text(),
        default=None,
        help="Database address instead of the file: `postgresql+asyncpg://user@host/database`.",
    )

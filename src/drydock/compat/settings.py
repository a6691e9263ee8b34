"""What is answered for other people's clients."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section


@section("DD_", "Compatibility", "Routes for clients of other products.")
class CompatSettings:
    """`DD_COMPAT_*`."""

    compat_wudcard: bool = option(
        "COMPAT_WUDCARD",
        kinds.boolean(),
        default=False,
        help="Answer the routes below the unversioned `/api` that dashboards written for WUD read.",
        lenient=True,
    )

"""`python -m lab.idp`: install the provider's locked packages, before the tests go where no network is."""

from __future__ import annotations

import subprocess
import sys

from . import available, install


def main() -> int:
    """0 when the provider can be started; 1, with the reason, when not."""
    why = available()
    if why is None:
        try:
            install()
        except (OSError, subprocess.CalledProcessError) as error:
            why = f"its packages cannot be installed ({error})"
    if why is not None:
        print(f"tests: no OpenID Connect provider: {why}; its tests are skipped", file=sys.stderr)
    return 0 if why is None else 1


if __name__ == "__main__":
    sys.exit(main())

"""Entry point of the `drydock` program."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. The server starts past Typer, which loads pydantic to read parameters: 12 MB, 0.2 s.

    So do the commands that Drydock runs internally, which the help does not list.
    """
    if sys.argv[1:] == ["serve"]:
        from drydock.cli.start import serve

        sys.exit(serve())
    if sys.argv[1:] in (["self-update-helper"], ["self-update-finalize"]):
        from drydock.cli.self_update import COMMANDS

        sys.exit(COMMANDS[sys.argv[1]]())
    from drydock.cli.main import app

    app()


if __name__ == "__main__":
    main()

"""Entry point of the `drydock` program."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from drydock.cli.main import app

    app()


if __name__ == "__main__":
    main()

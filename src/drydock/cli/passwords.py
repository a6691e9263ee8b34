"""`drydock hash-password`: from a password to the argon2id hash that `DD_AUTH_BASIC_<NAME>_HASH` takes."""

from __future__ import annotations

import getpass
import sys

from drydock.auth.passwords import make_hash

SHORTEST = 8


def run() -> int:
    """Read a password from the terminal (twice) or from standard input; 1 when it cannot be used."""
    try:
        password = _asked() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not password:
        print("error: the password is empty; type one, or pipe it to standard input", file=sys.stderr)
        return 1
    if len(password) < SHORTEST:
        print(f"warning: a password of fewer than {SHORTEST} characters is easily guessed", file=sys.stderr)
    print(make_hash(password))
    if sys.stdout.isatty():
        print("In a Compose file write each $ of it as $$.", file=sys.stderr)
    return 0


def _asked() -> str:
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise ValueError("the two passwords differ")
    return first

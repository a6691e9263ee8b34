"""The command line (spec: `cli.md`): one module per command, imported when it is used.

Commands print for people on a terminal, plainly when piped, and one JSON document with `--json`. They hold no decisions.
"""

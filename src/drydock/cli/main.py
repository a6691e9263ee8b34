"""The list of commands. Their code is imported when one is run, so that `drydock --help` answers at once."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="drydock",
    help="Watch the containers of Docker hosts, see what is newer and why, update without losing one.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(
    help="Show the effective configuration.\n\nExample: drydock config check",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.add_typer(config_app, name="config")
audit_app = typer.Typer(help="Maintain the audit log.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(audit_app, name="audit")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Host = Annotated[str | None, typer.Option("--host", help="Engine to ask: unix:///path or tcp://host:port.")]
Server = Annotated[
    str, typer.Option("--server", envvar="DD_CLIENT_SERVER", help="Address of the Drydock server to ask.")
]
Token = Annotated[
    str | None, typer.Option("--token", envvar="DD_CLIENT_TOKEN", help="API key or token for the server.")
]
TokenFile = Annotated[str | None, typer.Option("--token-file", help="File that holds the token.")]
DEFAULT_SERVER = "http://127.0.0.1:3000"


@app.command()
def serve() -> None:
    """Run the server, configured by DD_* variables alone.

    Example: DD_ANONYMOUS_AUTH_CONFIRM=true drydock serve
    """
    from drydock.cli.start import serve as run

    raise typer.Exit(run())


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Containers to check; none = all.")] = None,
    host: Host = None,
    everything: Annotated[bool, typer.Option("--all", help="List up-to-date containers too.")] = False,
    family: Annotated[str | None, typer.Option("--family", help="strict or loose, for all containers.")] = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no table: the exit status only.")] = False,
    fail_on: Annotated[str, typer.Option("--fail-on", help="major, minor, patch, digest, any or never.")] = "any",
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Use the content-addressed registry cache.")] = True,
) -> None:
    """Check an Engine's containers once, now. Reads no store and changes nothing.

    Example: drydock check --fail-on minor
    """
    from drydock.cli.check import CheckOptions, run

    options = CheckOptions(tuple(names or ()), host, everything, family, as_json, quiet, fail_on, cache)
    raise typer.Exit(run(options))


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="Name or id of a container.")],
    host: Host = None,
    server: Annotated[
        str | None, typer.Option("--server", help="Ask this Drydock server instead of an Engine.")
    ] = None,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: Json = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Let the server check again first.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="List every removed tag.")] = False,
) -> None:
    """Say why a container is where it is: each rule's decision in order.

    Example: drydock explain web
    """
    from drydock.cli.explain import ExplainOptions, run

    raise typer.Exit(run(ExplainOptions(name, host, server, token, token_file, as_json, fresh, everything)))


@config_app.callback()
def config(context: typer.Context, as_json: Json = False) -> None:
    """Print the effective configuration with sources, secrets masked.

    Example: drydock config
    """
    if context.invoked_subcommand is None:
        from drydock.cli.config import show

        raise typer.Exit(show(as_json=as_json))


@config_app.command("check")
def config_check() -> None:
    """Exit 1 when the server would refuse to start, or would leave something out."""
    from drydock.cli.config import check as run

    raise typer.Exit(run())


@config_app.command("docs")
def config_docs() -> None:
    """Print the configuration reference."""
    from drydock.cli.config import docs

    raise typer.Exit(docs())


@app.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    from drydock.cli.openapi import run

    raise typer.Exit(run())


@app.command()
def healthcheck(server: Server = DEFAULT_SERVER) -> None:
    """Exit 0 when the server is healthy, 1 when not: for container health checks."""
    from drydock.cli.healthcheck import run

    raise typer.Exit(run(server))


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="Name or id of a container.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow: print new lines as they appear.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", help="Lines from the end of the log.")] = 1000,
    since: Annotated[str, typer.Option("--since", help="Unix seconds or ISO 8601: nothing older.")] = "",
    stdout: Annotated[bool, typer.Option("--stdout/--no-stdout", help="Include standard output.")] = True,
    stderr: Annotated[bool, typer.Option("--stderr/--no-stderr", help="Include standard error.")] = True,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Print the time before each line.")] = False,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Print a container's log, through a running server.

    Example: drydock logs web -f
    """
    from drydock.cli.logs import LogsOptions, run

    options = LogsOptions(name, server, follow, tail, since, stdout, stderr, timestamps, token, token_file)
    raise typer.Exit(run(options))


@app.command()
def stats(
    names: Annotated[list[str] | None, typer.Argument(help="Containers to show; none = all running ones.")] = None,
    as_json: Json = False,
    server: Server = DEFAULT_SERVER,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Show what the running containers use: a live table on a terminal, else one sample.

    Example: drydock stats --json
    """
    from drydock.cli.stats import StatsOptions, run

    raise typer.Exit(run(StatsOptions(tuple(names or ()), server, as_json, token, token_file)))


@app.command("hash-password")
def hash_password() -> None:
    """Read a password and print its argon2id hash, for DD_AUTH_BASIC_<NAME>_HASH.

    Example: drydock hash-password
    """
    from drydock.cli.passwords import run

    raise typer.Exit(run())


@audit_app.command("verify")
def audit_verify(as_json: Json = False) -> None:
    """Check the hash chain of the audit log; exit 1 when an entry was changed, added or removed.

    Example: DD_STORE_PATH=/store drydock audit verify
    """
    from drydock.cli.audit import verify

    raise typer.Exit(verify(as_json=as_json))

"""`make run`: the server on http://127.0.0.1:3000, watching the Engine that is there or a sandbox made for it.

With `DOCKER_HOST` or a local socket that answers, the server simply starts. Otherwise, as root on Debian, a sandbox with an
Engine, registries and the demonstration fleet is made, and the server runs inside. The listening socket belongs to the
host and is handed into the sandbox, where its connections are passed on; so nothing but that one socket leads in.
Everything after `--` replaces the server's command.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from drydock.auth.first_login import FirstLogin, first_login
from drydock.core.errors import ConfigError, EngineError
from drydock.docker.connect import connect, from_docker_host, resolve
from drydock.docker.settings import EngineSettings

from . import sandbox
from .engine import DockerEngine, installed
from .fleet import SERVICES, Fleet

ROOT = pathlib.Path(__file__).parents[2]
SERVER = [str(pathlib.Path(sys.executable).with_name("drydock")), "serve"]
SHOP_PORT = 5000
INSIDE_PORT = 3000
GRACE_S = 15.0
SIGN_IN = "DRYDOCK_SANDBOX_SIGN_IN"
PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> int:
    """Decide where the server runs, and run it there until it ends."""
    command = [*arguments[arguments.index("--") + 1 :]] if "--" in arguments else SERVER
    if "--inside" in arguments:
        return asyncio.run(inside(int(os.environ["DRYDOCK_LISTENER"]), command))
    environment = defaults(os.environ)
    settings = engine_settings(os.environ)
    if settings is not None and asyncio.run(answers(settings)):
        return serve_here(command, environment, settings)
    why = sandbox_impossible()
    if why is not None:
        tell(f"No Docker Engine answers, and no sandbox can be made: {why}.")
        tell("The server starts all the same; set DOCKER_HOST, or mount a socket, and start again.")
        return serve_here(command, environment, None)
    return in_sandbox(command, environment)


def tell(text: str) -> None:
    """One line for the person who typed `make run`."""
    print(f"drydock: {text}", flush=True)


def defaults(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server for trying out: loopback only, data beside the sources."""
    own = {"DD_SERVER_HOST": "127.0.0.1", "DD_SERVER_PORT": str(INSIDE_PORT), "DD_STORE_PATH": str(ROOT / ".drydock")}
    return {**own, **environ}


def engine_settings(environ: Mapping[str, str]) -> EngineSettings | None:
    """Where an Engine is expected; None when `DOCKER_HOST` cannot be used (said so)."""
    try:
        return from_docker_host(environ)
    except ConfigError as error:
        tell(f"{error.message}. {error.hint}")
        return None


async def answers(settings: EngineSettings) -> bool:
    """Whether an Engine answers there."""
    client = connect(resolve(settings))
    try:
        return bool(await client.version())
    except EngineError:
        return False
    finally:
        await client.close()


def watcher_variables(environ: Mapping[str, str], settings: EngineSettings) -> dict[str, str]:
    """`DOCKER_HOST` as a watcher, unless watchers are configured."""
    if any(name.startswith("DD_WATCHER_") for name in environ):
        return {}
    if settings.host is None:
        return {"DD_WATCHER_LOCAL_SOCKET": settings.socket}
    files = {"CAFILE": settings.cafile, "CERTFILE": settings.certfile, "KEYFILE": settings.keyfile}
    given = {"HOST": settings.host, "PORT": str(settings.port), "PROTOCOL": settings.protocol, **files}
    return {f"DD_WATCHER_LOCAL_{key}": value for key, value in given.items() if value}


def serve_here(command: Sequence[str], environment: dict[str, str], settings: EngineSettings | None) -> int:
    """Become the server."""
    if settings is not None:
        tell(f"Watching {resolve(settings).label}.")
        environment |= watcher_variables(environment, settings)
    login = first_login(environment)
    environment |= login.variables if login else {}
    invite(environment, login)
    os.execvpe(command[0], list(command), environment)


def invite(environment: Mapping[str, str], login: FirstLogin | None) -> None:
    """The first things to try; with a password for this run where one is needed."""
    url = f"http://127.0.0.1:{environment['DD_SERVER_PORT']}"
    credentials = f"-u {login.user}:{login.password} " if login else ""
    tell(f"Data in {environment['DD_STORE_PATH']}. Open {url}, or try:")
    for path in ("/health", "/api/v1/containers/summary", "/api/v1/containers?limit=3"):
        print(f"  curl {credentials}'{url}{path}'", flush=True)
    if login:
        tell(login.sentence)
    elif environment.get("DD_ANONYMOUS_AUTH_CONFIRM") == "true":
        tell(f"Nobody has to sign in here: only this machine reaches it. {SIGN_IN}=true asks for a password.")


def sandbox_impossible() -> str | None:
    """None where the sandbox can be made, packages installed if need be; else why not."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() != 0:
        return "that needs root"
    subprocess.run(["bash", str(ROOT / "tests/lab/install")], check=False)
    return sandbox.possible() or installed()


def in_sandbox(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Make the sandbox and stay until it ends."""
    port = int(environment["DD_SERVER_PORT"])
    try:
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
    except OSError as error:
        tell(f"Port {port} cannot be used: {error.strerror}. Set DD_SERVER_PORT to another one.")
        return 1
    end_with_caller()
    tell("No Docker Engine answers here: making a sandbox with one, two registries and a small fleet.")
    own = {**environment, "DRYDOCK_LISTENER": str(listener.fileno()), "PYTHONPATH": str(ROOT / "tests")}
    if "DD_STORE_PATH" not in os.environ:
        own["DD_STORE_PATH"] += "/sandbox"  # what is only for show stays apart
    program = [sys.executable, "-m", "lab.run", "--inside", "--", *command]
    return sandbox.run(program, env=own, pass_fds=(listener.fileno(),))


def end_with_caller() -> None:
    """Have the kernel send SIGTERM when the process that called (`make`) dies, however it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def inside(descriptor: int, command: Sequence[str]) -> int:
    """In the sandbox: the fleet, the server, and the way in. Ends with the server, or on TERM and INT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    scene = asyncio.create_task(asyncio.to_thread(start_fleet))
    await asyncio.wait([scene, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        return 130
    login = first_login(os.environ) if os.environ.get(SIGN_IN) == "true" else None
    environment = sandbox_environment(os.environ, *scene.result(), login)
    server = await asyncio.create_subprocess_exec(*command, env=environment)
    way_in = await asyncio.start_server(pass_on, sock=socket.socket(fileno=descriptor))
    greeting = asyncio.create_task(greet({**environment, "DD_SERVER_PORT": os.environ["DD_SERVER_PORT"]}, login))
    code = await until_end(server, stop)
    greeting.cancel()
    way_in.close()
    return code


async def greet(environment: Mapping[str, str], login: FirstLogin | None) -> None:
    """Say that it is up, once it is."""
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", INSIDE_PORT)
            writer.close()
            break
        await asyncio.sleep(0.05)
    tell("The sandbox is up. It has no way to the internet, and disappears when you stop this (Ctrl-C).")
    invite(environment, login)


def start_fleet() -> tuple[DockerEngine, Fleet]:
    """Engine, registries, containers."""
    engine = DockerEngine(sandbox.HOME / "e").start()
    fleet = Fleet(engine.api, sandbox.HOME / "f", SHOP_PORT).start()
    tell(f"Fleet of {len(SERVICES)} containers: " + ", ".join(sorted(fleet.ids)))
    return engine, fleet


def sandbox_environment(
    environ: Mapping[str, str], engine: DockerEngine, fleet: Fleet, login: FirstLogin | None
) -> dict[str, str]:
    """What the server in the sandbox gets: the sandbox's Engine, registries and an action that updates.

    Open without a password, since only this machine reaches it, unless sign-in is configured or asked for.
    """
    own = {
        "DD_SERVER_HOST": "127.0.0.1",
        "DD_SERVER_PORT": str(INSIDE_PORT),
        "DD_WATCHER_LOCAL_SOCKET": str(engine.socket),
        "DD_WATCHER_LOCAL_WATCHALL": "true",
        **fleet.variables(),
    }
    told = any(name.startswith("DD_AUTH_") for name in environ)
    door = login.variables if login else {} if told else {"DD_ANONYMOUS_AUTH_CONFIRM": "true"}
    return {"DD_ACTION_DOCKER_LOCAL_PRUNE": "false", **door, **environ, **own}


async def until_end(server: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
    """Wait for the server's own end, or ask for it; its exit status, 0 when it was asked for."""
    ended = asyncio.create_task(server.wait())
    await asyncio.wait([ended, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    with contextlib.suppress(ProcessLookupError):
        server.terminate()
    try:
        await asyncio.wait_for(asyncio.shield(ended), GRACE_S)
    except TimeoutError:
        tell(f"The server did not stop within {GRACE_S:g} s and was killed.")
        server.kill()
    code = await ended
    return 0 if stop.is_set() else code if code >= 0 else 128 - code


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection from the host to the server in the sandbox."""
    try:
        there, back = await asyncio.open_connection("127.0.0.1", INSIDE_PORT)
    except OSError:  # the server does not listen yet, or no longer: the caller sees a closed connection
        writer.close()
        return
    await asyncio.gather(copy(reader, back), copy(there, writer))
    back.close()
    writer.close()


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """One direction, until its end or a broken connection; the other side is told."""
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    with contextlib.suppress(OSError):
        if target.can_write_eof():
            target.write_eof()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""docs/authentication.md and docs/security.md, followed as a new user would: every block that a machine can run is run."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract.product import HASH, PASSWORD, serve_product, user
from drydock.app.settings import SCHEMA
from drydock.config.load import load

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = {
    name: re.findall(r"```sh\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    for name in ("authentication.md", "security.md")
}
ASSIGNMENT = re.compile(r"(DD_[A-Z0-9_]+)=")
VARIABLES = [block for blocks in BLOCKS.values() for block in blocks if block.startswith("DD_")]


def shell(script: str, text: str = "") -> str:
    """The output of a script, with our programs first in the path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-eu", "-c", script], input=text, capture_output=True, text=True, timeout=60, env={"PATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def variables(block: str) -> dict[str, str]:
    """What a block of assignments sets, as a shell reads it."""
    names = ASSIGNMENT.findall(block)
    values = shell(block + "\n" + "\n".join(f'printf "%s\\0" "${name}"' for name in names)).split("\0")
    return dict(zip(names, values, strict=False))


def _blocks(name: str, word: str) -> str:
    (found,) = [block for block in BLOCKS[name] if word in block]
    return found


@pytest.mark.parametrize("block", VARIABLES, ids=lambda block: block.split("=")[0])
def test_variables_of_the_documents_are_accepted(block: str, tmp_path: Path) -> None:
    found = variables(block)
    for name in [name for name in found if name.endswith(("__FILE", "_KEY", "_CERT"))]:
        file = tmp_path / name
        file.write_text("secret")
        file.chmod(0o600)
        found[name] = str(file)
    loaded = load(found, SCHEMA)
    assert loaded.settings is not None, [str(problem) for problem in loaded.problems]
    assert not loaded.problems


async def test_a_user_with_a_password(tmp_path: Path) -> None:
    command = _blocks("authentication.md", "hash-password")
    made = (await asyncio.to_thread(shell, command, "a new password\n")).strip()
    found = variables(_blocks("authentication.md", "DD_AUTH_BASIC_ADMIN_USER"))
    found["DD_AUTH_BASIC_ADMIN_HASH"] = made
    async with serve_product(tmp_path, **found) as server:
        assert (await server.signed_in("admin", "a new password")).cookies
    file = tmp_path / "admin-hash"
    file.write_text(made + "\n")
    file.chmod(0o600)
    from_file = {"DD_AUTH_BASIC_ADMIN_USER": "admin", "DD_AUTH_BASIC_ADMIN_HASH__FILE": str(file)}
    async with serve_product(tmp_path / "two", **from_file) as server:
        assert (await server.signed_in("admin", "a new password")).cookies


async def test_a_compose_file_without_doubled_dollars_is_explained(tmp_path: Path) -> None:
    environ = {"DD_AUTH_BASIC_ADMIN_USER": "admin", "DD_AUTH_BASIC_ADMIN_HASH": "=19=65536,t=3,p=4"}
    async with serve_product(tmp_path, **environ) as server:
        (error,) = (await server.client().get("/auth/status")).json()["errors"]
        assert "`$$`" in error["error"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the document's lines use curl")
async def test_api_keys(tmp_path: Path) -> None:
    make, use = _blocks("authentication.md", "curl").replace("\\\n", " ").strip().splitlines()
    async with serve_product(tmp_path, **user("admin")) as server:

        def here(line: str) -> str:
            return line.replace("https://drydock.example.org", server.url).replace(
                "-u admin ", f"-u 'admin:{PASSWORD}' "
            )

        made = json.loads(await asyncio.to_thread(shell, here(make)))
        assert (made["name"], made["scopes"]) == ("dashboard", ["read"])
        listed = json.loads(await asyncio.to_thread(shell, f"TOKEN={made['token']}\n{here(use)}"))
        assert listed["total"] == 0
        admin = await server.signed_in()
        path = f"/api/v1/auth/tokens/{made['id']}"
        assert (await admin.post(f"{path}/rotate", json={"graceMinutes": 60})).status_code == 200
        assert (await admin.delete(path)).status_code == 204


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the document's lines use openssl")
async def test_a_key_from_variables(tmp_path: Path) -> None:
    block = _blocks("authentication.md", "DD_AUTH_APIKEY")
    names = ["TOKEN", *ASSIGNMENT.findall(block)]
    show = "\n".join(f'printf "%s\\n" "${name}"' for name in names)
    token, *values = (await asyncio.to_thread(shell, f"{block}\n{show}")).splitlines()
    async with serve_product(tmp_path, **dict(zip(names[1:], values, strict=True))) as server:
        client = server.client(headers={"Authorization": f"Bearer {token}"})
        assert (await client.get("/api/v1/containers")).status_code == 200
        assert (await client.get("/api/v1/debug/dump")).status_code == 403


async def test_behind_a_proxy(tmp_path: Path) -> None:
    found = variables(_blocks("authentication.md", "DD_SERVER_TRUSTPROXY"))
    proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "drydock.example.org", "X-Forwarded-For": "192.0.2.7"}
    async with serve_product(tmp_path, **found, **user("admin")) as server:
        client = await server.signed_in(headers=proxied)
        cookie = f"drydock.sid={client.cookies.get('drydock.sid')}"
        headers = {**proxied, "Origin": "https://drydock.example.org", "Cookie": cookie}
        answer = await server.client().patch("/api/v1/settings", json={"updateMode": "notify"}, headers=headers)
        assert answer.status_code == 200
        (entry,) = await server.audit("settings-changed")
        assert entry["ip"] == "192.0.2.7"


async def test_locked_out_as_the_document_says(tmp_path: Path) -> None:
    async with serve_product(tmp_path, **user("admin")) as server:
        for number in range(5):
            await server.client().post("/auth/login", auth=("admin", f"wrong{number}"))
        assert (await server.client().post("/auth/login", auth=("admin", PASSWORD))).status_code == 423
    (file,) = (tmp_path / "store").glob("*.auth-lockouts.json")
    file.unlink()
    async with serve_product(tmp_path, **user("admin")) as server:
        assert (await server.client().post("/auth/login", auth=("admin", PASSWORD))).status_code == 200


def test_the_audit_command_of_the_document_works(tmp_path: Path) -> None:
    async def once() -> None:
        async with serve_product(tmp_path, **user("admin", hash=HASH)) as server:
            await server.signed_in()

    asyncio.run(once())
    block = _blocks("security.md", "drydock audit verify").split("#")[0]
    assert "intact" in shell(f"export DD_STORE_PATH={tmp_path}/store\n{block}")

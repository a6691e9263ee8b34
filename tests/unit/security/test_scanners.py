"""The programs' command lines, environments and answers, with executables that record and replay."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from drydock.core.errors import ScanFailed
from drydock.core.secret import Secret
from drydock.security.scanners import build, generator_name
from drydock.security.scanners.base import Target
from drydock.security.scanners.grype import Grype, GrypeSettings
from drydock.security.scanners.grype import parse as parse_grype
from drydock.security.scanners.syft import Syft, SyftSettings
from drydock.security.scanners.trivy import Trivy, TrivySettings
from drydock.security.scanners.trivy import parse as parse_trivy
from kit.configured import configured
from kit.wait import until

Make = Callable[..., Any]
ENVIRON = {"PATH": os.environ["PATH"], "DD_SECRET": "no", "TRIVY_CACHE_DIR": "/cache"}
TARGET = Target("127.0.0.1:5000/app:1.0", "127.0.0.1:5000")
EMPTY = json.dumps({"SchemaVersion": 2, "ArtifactName": "x"})


@dataclasses.dataclass
class Login:
    username: str
    password: Secret


def make(program: Any, clock: Any, environ: dict[str, str] = ENVIRON, **more: Any) -> Trivy:
    return Trivy(TrivySettings(**{"command": program.path, "timeout_s": 60, **more}), environ, clock)


async def test_the_command_line_of_a_scan(fake: Make, clock: Any) -> None:
    program = fake("trivy", f"out({EMPTY!r})")
    given = {"timeout_s": 61.5, "args": ("--ignore-unfixed",), "image_src": "remote"}
    found = await make(program, clock, **given).scan(TARGET)
    assert (found.total, found.errors) == (0, [])
    assert program.argvs("--scanners") == [
        [
            "image",
            "--quiet",
            "--format",
            "json",
            "--timeout",
            "62s",
            "--scanners",
            "vuln",
            "--severity",
            "UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL",
            "--image-src",
            "remote",
            "--ignore-unfixed",
            "127.0.0.1:5000/app:1.0",
        ]
    ]
    assert "DD_SECRET" not in program.calls[-1]["env"]
    assert program.calls[-1]["env"]["TRIVY_CACHE_DIR"] == "/cache"


async def test_client_of_a_server_needs_no_database(fake: Make, clock: Any) -> None:
    program = fake("trivy", f"out({EMPTY!r})")
    await make(program, clock, server="http://127.0.0.1:4954").scan(TARGET)
    assert [call["argv"] for call in program.calls] == program.argvs("--server")
    assert len(program.calls) == 1


@pytest.mark.parametrize(("form", "name"), [("spdx-json", "spdx-json"), ("cyclonedx-json", "cyclonedx")])
async def test_sbom_command_line(fake: Make, clock: Any, form: Any, name: str) -> None:
    program = fake("trivy", "out('{}')")
    await make(program, clock).sbom(TARGET, form)
    assert program.argvs("--quiet") == [["image", "--quiet", "--format", name, "--timeout", "60s", TARGET.reference]]


async def test_a_login_is_never_an_argument(fake: Make, clock: Any) -> None:
    program = fake("trivy", f"out({EMPTY!r})")
    target = dataclasses.replace(TARGET, login=Login("alice", Secret("s3cret")))
    await make(program, clock).scan(target)
    call = program.calls[-1]
    assert "s3cret" not in json.dumps(call["argv"])
    assert (call["env"]["TRIVY_USERNAME"], call["env"]["TRIVY_PASSWORD"]) == ("alice", "s3cret")
    assert call["login"] == {"auths": {"127.0.0.1:5000": {"auth": "YWxpY2U6czNjcmV0"}}}
    assert (call["login_mode"], call["folder_mode"]) == ("0o600", "0o700")
    assert not pathlib.Path(call["env"]["DOCKER_CONFIG"]).exists()
    assert "s3cret" not in repr(target)


async def test_a_password_that_the_program_prints_is_scrubbed(fake: Make, clock: Any) -> None:
    program = fake("trivy", "sys.stderr.write('refused alice:s3cret YWxpY2U6czNjcmV0\\n'); sys.exit(1)")
    target = dataclasses.replace(TARGET, login=Login("alice", Secret("s3cret")))
    with pytest.raises(ScanFailed) as failed:
        await make(program, clock).scan(target)
    assert "s3cret" not in failed.value.message
    assert "YWxp" not in failed.value.message


FAILURES = {
    "half a document": ('out(\'{"Results": [{"Tar\')', "Trivy printed something that is not a JSON object"),
    "garbage": ("out('<html>')", "Trivy printed something that is not a JSON object"),
    "nothing": ("pass", "Trivy printed something that is not a JSON object"),
    "a list": ("out('[]')", "Trivy printed something that is not a JSON object"),
    "killed": ("os.kill(os.getpid(), 9)", "Trivy command was killed (signal 9)"),
    "exit": ("sys.stderr.write('FATAL no such image'); sys.exit(1)", "Trivy command failed (exit=1): FATAL no such"),
    "silent": ("sys.exit(2)", "Trivy command failed (exit=2): no message"),
    "own time-out": (
        "sys.stderr.write('FATAL context deadline exceeded'); sys.exit(1)",
        "Trivy command timed out after 60000ms",
    ),
    "disk full": (
        "sys.stderr.write('write /tmp/x: no space left on device'); sys.exit(1)",
        "Trivy command failed (exit=1): write /tmp/x: no space left on device",
    ),
    "too large": ("out('{\"a\": \"' + 'x' * 21 * 1024 * 1024 + '\"}')", "Trivy output is too large to parse (2202"),
}


@pytest.mark.parametrize("case", FAILURES)
async def test_every_failure_has_its_text(fake: Make, clock: Any, case: str) -> None:
    body, message = FAILURES[case]
    program = fake("trivy", f"if '--scanners' in argv:\n    {body}")
    with pytest.raises(ScanFailed) as failed:
        await make(program, clock).scan(TARGET)
    assert failed.value.message.startswith(message)


async def test_missing_program(clock: Any) -> None:
    with pytest.raises(ScanFailed, match="no-such-trivy was not found"):
        await Trivy(TrivySettings(command="no-such-trivy"), ENVIRON, clock).scan(TARGET)


async def test_an_unusable_command_is_refused_before_anything_runs(clock: Any) -> None:
    with pytest.raises(ScanFailed, match="is invalid; use a command name or absolute path"):
        await Trivy(TrivySettings(command="./trivy"), ENVIRON, clock).scan(TARGET)


async def test_extra_arguments_cannot_override(fake: Make, clock: Any) -> None:
    program = fake("trivy", f"out({EMPTY!r})")
    with pytest.raises(ScanFailed, match="Trivy extra arguments cannot override --severity"):
        await make(program, clock, args=("--severity=LOW",)).scan(TARGET)


GATE = """
import fcntl
lock = open(home / "lock", "w")
if "--scanners" in argv:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(7)
    out('{}')
"""


async def test_one_at_a_time_on_a_cache_folder(fake: Make, clock: Any) -> None:
    program = fake("trivy", GATE)
    trivy = make(program, clock)
    program.hold("--scanners")
    scans = [asyncio.create_task(trivy.scan(TARGET)) for _ in range(4)]
    await until(lambda: program.argvs("--scanners"), "the first scan")
    program.release()
    await asyncio.gather(*scans)
    assert len(program.argvs("--scanners")) == 4


async def test_in_parallel_when_the_binary_knows_the_memory_cache(fake: Make, clock: Any) -> None:
    program = fake("trivy", "if '--help' in argv: out('  --cache-backend string  …')\nelse: out('{}')")
    trivy = make(program, clock)
    await asyncio.gather(*(trivy.scan(TARGET) for _ in range(3)))
    assert len(program.argvs("--help")) == 1
    assert all(argv[-3:-1] == ["--cache-backend", "memory"] for argv in program.argvs("--scanners"))


async def test_the_operators_cache_stands(fake: Make, clock: Any) -> None:
    program = fake("trivy", "out('{}')")
    await make(program, clock, args=("--cache-backend", "redis://127.0.0.1")).scan(TARGET)
    assert program.argvs("--help") == []
    assert program.argvs("--scanners")[0].count("--cache-backend") == 1


async def test_warm_up_once_and_not_again_for_a_quarter_of_an_hour_after_a_failure(fake: Make, clock: Any) -> None:
    program = fake("trivy", "if '--download-db-only' in argv: sys.exit(1)\nout('{}')")
    trivy = make(program, clock)
    for minutes in (0, 10, 10, 0):
        clock.advance(minutes * 60)
        await trivy.scan(TARGET)
    assert len(program.argvs("--download-db-only")) == 2
    program.write("out('{}')")
    for _ in range(3):
        clock.advance(16 * 60)
        await trivy.scan(TARGET)
    assert len(program.argvs("--download-db-only")) == 3


async def test_no_warm_up_where_the_operator_forbids_it(fake: Make, clock: Any) -> None:
    program = fake("trivy", "out('{}')")
    await make(program, clock, environ={**ENVIRON, "TRIVY_SKIP_DB_UPDATE": "True"}).scan(TARGET)
    assert program.argvs("--download-db-only") == []


async def test_the_database_is_asked_every_five_minutes(fake: Make, clock: Any) -> None:
    facts = json.dumps({"Version": "0.59.1", "VulnerabilityDB": {"UpdatedAt": "2026-01-01T06:00:00Z"}})
    program = fake("trivy", f"out({facts!r})")
    trivy = make(program, clock)
    assert await trivy.database() == "2026-01-01T06:00:00Z"
    await trivy.database()
    assert len(program.calls) == 1
    clock.advance(301)
    program.write('out(\'{"Version": "0.59.1"}\')')
    assert await trivy.database() is None


def test_parsing_trivy() -> None:
    found = parse_trivy(
        {
            "Metadata": {"RepoDigests": ["r/app@sha256:abc"], "OS": {"Family": "alpine", "EOSL": True}},
            "Results": [
                {"Target": "no findings", "Class": "lang-pkgs"},
                {
                    "Target": "app (alpine)",
                    "Vulnerabilities": [
                        {"Severity": "weird"},
                        {
                            "VulnerabilityID": "CVE-1",
                            "PkgName": "p",
                            "InstalledVersion": "1",
                            "FixedVersion": "2",
                            "Severity": "high",
                            "Title": "t",
                            "PrimaryURL": "u",
                            "PublishedDate": "d",
                        },
                        "not an object",
                    ],
                },
            ],
        }
    )
    high, unknown = found.findings
    assert (high.id, high.package_name, high.installed_version, high.fixed_version) == ("CVE-1", "p", "1", "2")
    assert (high.severity, high.title, high.primary_url, high.published_date) == ("HIGH", "t", "u", "d")
    assert (unknown.id, unknown.severity, unknown.target) == ("unknown-vulnerability", "UNKNOWN", "app (alpine)")
    assert (found.digests, found.end_of_life) == (["sha256:abc"], True)


GRYPE = {
    "source": {"target": {"repoDigests": ["r/app@sha256:abc"]}},
    "matches": [
        {
            "vulnerability": {
                "id": "CVE-1",
                "severity": "Critical",
                "description": "bad",
                "dataSource": "https://d",
                "fix": {"versions": ["2.1", "2.0", "2.1"]},
            },
            "artifact": {"name": "p", "version": "1", "locations": [{"path": "/z"}, {"path": "/a"}]},
        },
        {
            "vulnerability": {"id": "CVE-2", "severity": "Negligible", "urls": ["https://z", "https://a"]},
            "artifact": {"name": "q", "version": "3"},
        },
    ],
}


def test_parsing_grype() -> None:
    first, second = parse_grype(GRYPE).findings
    assert (first.severity, first.fixed_version, first.target) == ("CRITICAL", "2.0, 2.1", "/a")
    assert (first.title, first.primary_url) == ("bad", "https://d")
    assert (second.severity, second.primary_url, second.target) == ("UNKNOWN", "https://a", None)


async def test_the_command_line_of_grype(fake: Make, clock: Any) -> None:
    program = fake("grype", f"out({json.dumps(GRYPE)!r})")
    target = dataclasses.replace(TARGET, login=Login("alice", Secret("s3cret")))
    grype = Grype(GrypeSettings(command=program.path, args=("--only-fixed",)), ENVIRON, clock)
    assert (await grype.scan(target)).summary.critical == 1
    call = program.calls[0]
    assert call["argv"] == ["--output", "json", "--only-fixed", "registry:127.0.0.1:5000/app:1.0"]
    assert call["env"]["SYFT_REGISTRY_AUTH_PASSWORD"] == "s3cret"


@pytest.mark.parametrize("place", ["{}", '{{"database": {}}}', '{{"db": {}}}'])
async def test_the_database_of_grype(fake: Make, clock: Any, place: str) -> None:
    answer = place.format('{"built": "2026-01-01T00:00:00Z"}')
    program = fake("grype", f"out({answer!r})")
    assert await Grype(GrypeSettings(command=program.path), ENVIRON, clock).database() == "2026-01-01T00:00:00Z"


async def test_the_command_line_of_syft(fake: Make, clock: Any) -> None:
    program = fake("syft", "out('{}')")
    settings = SyftSettings(command=program.path, args=("--scope", "all-layers"))
    await Syft(settings, ENVIRON, clock).sbom(TARGET, "spdx-json")
    assert program.calls[0]["argv"] == [
        "registry:127.0.0.1:5000/app:1.0",
        "--output",
        "spdx-json",
        "--scope",
        "all-layers",
    ]


def both(trivy: Any, grype: Any, clock: Any) -> Any:
    settings = configured(TrivySettings(command=trivy.path), GrypeSettings(command=grype.path))
    return build("both", "auto", settings, ENVIRON, clock)


TRIVY_ONE = {
    "Results": [
        {
            "Target": "/a",
            "Vulnerabilities": [
                {"VulnerabilityID": "CVE-1", "PkgName": "p", "InstalledVersion": "1", "Severity": "LOW"},
            ],
        }
    ]
}


async def test_both_scanners_are_merged(fake: Make, clock: Any) -> None:
    scanner, generator = both(
        fake("trivy", f"out({json.dumps(TRIVY_ONE)!r})"), fake("grype", f"out({json.dumps(GRYPE)!r})"), clock
    )
    found = await scanner.scan(TARGET)
    assert found.scanner == "both"
    worst = found.findings[0]
    assert (worst.id, worst.severity, worst.scanners) == ("CVE-1", "CRITICAL", ["grype", "trivy"])
    assert found.total == 2
    assert generator is scanner.members[0]


async def test_one_of_both_fails(fake: Make, clock: Any) -> None:
    broken = fake("trivy", "sys.stderr.write('connection refused'); sys.exit(1)")
    scanner, _ = both(broken, fake("grype", f"out({json.dumps(GRYPE)!r})"), clock)
    found = await scanner.scan(TARGET)
    assert found.summary.critical == 1
    assert found.errors == ["Trivy: Trivy command failed (exit=1): connection refused"]


async def test_both_fail(fake: Make, clock: Any) -> None:
    scanner, _ = both(fake("trivy", "sys.exit(1)"), fake("grype", "out('x')"), clock)
    with pytest.raises(ScanFailed, match=r"Trivy: .*; Grype: Grype printed something"):
        await scanner.scan(TARGET)


@pytest.mark.parametrize(
    ("scanner", "generator", "expected"),
    [
        ("trivy", "auto", "trivy"),
        ("grype", "auto", "syft"),
        ("both", "auto", "trivy"),
        ("trivy", "syft", "syft"),
        ("grype", "trivy", "trivy"),
    ],
)
def test_which_generator(scanner: str, generator: str, expected: str) -> None:
    assert generator_name(scanner, generator) == expected


@pytest.mark.parametrize(("output", "version"), [("Version: 0.59.1", "0.59.1"), ("grype v0.90.0-rc1", "0.90.0-rc1")])
async def test_versions(fake: Make, clock: Any, output: str, version: str) -> None:
    program = fake("trivy", f"out({output!r})")
    assert await make(program, clock).version() == version


async def test_no_version_of_a_missing_program(clock: Any) -> None:
    assert await Trivy(TrivySettings(command="no-such-trivy"), ENVIRON, clock).version() is None

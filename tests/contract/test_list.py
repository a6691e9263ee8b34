"""Listing containers (container-api.md §3) and the rows of section A and B."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contract.http_app import HttpApp
from drydock.core.model import CheckError, Result
from drydock.core.times import DAY_MS, HOUR_MS, to_iso
from kit.containers import container, container_id, image

MINUTE = 60_000


def aged(http_app: HttpApp, number: int, days: float, **changes: Any) -> Any:
    """A container with an update that was detected `days` ago."""
    at = to_iso(http_app.clock.now_ms() - int(days * DAY_MS))
    return container(number, update="1.1.0", update_detected_at=at, first_seen_at=at, **changes)


async def everything(http_app: HttpApp) -> list[dict[str, Any]]:
    return (await http_app.api.get("/containers")).json()["data"]


async def check_filter(http_app: HttpApp, query: str, test: Any) -> list[str]:
    """The ids of a filtered list equal those that the whole list says should match; some match, some do not."""
    rows = await everything(http_app)
    expected = [row["id"] for row in rows if test(row)]
    assert 0 < len(expected) < len(rows), f"no match or no non-match for {query}"
    assert await http_app.ids(f"/containers?{query}") == expected
    return expected


@pytest.fixture
async def mixed(http_app: HttpApp) -> HttpApp:
    """Every status, every kind, every age, an error, labels, an agent, findings."""
    findings = [{"id": "CVE-1", "severity": "HIGH"}]
    scan = {"status": "passed", "summary": {"high": 1}, "vulnerabilities": findings}
    await http_app.seed(
        aged(http_app, 1, 0.5, name="web"),
        aged(http_app, 2, 10, name="API", image=image("1.0.0", created="2026-02-01T00:00:00.000Z")),
        aged(http_app, 3, 40, name="db", status="exited", result=Result(tag="2.0.0")),
        aged(http_app, 4, 3, name="cache", result=Result(tag="1.0.1")),
        container(5, "paused", status="paused", labels={"dd.watch": "TRUE"}),
        container(6, "again", status="restarting", labels={"dd.watch": "false"}),
        container(7, "dead", status="dead"),
        container(8, "new", status="created", image=image("1.0.0", created="nonsense")),
        container(9, "broken", error=CheckError(message="401"), watcher="other"),
        container(10, "digest", image=image(digest=digest("a")), result=Result(tag="1.0.0", digest=sha("b"))),
        container(11, "scanned", security={"scan": scan, "sbom": {"status": "generated"}}),
        container(12, "stop", status="stopped", agent="edge"),
        container(13, "web-old-1700000000000"),
    )
    return http_app


def sha(letter: str) -> str:
    return "sha256:" + letter * 64


def digest(letter: str) -> Any:
    return msgspec.structs.replace(image().digest, watch=True, value=sha(letter), repo=sha(letter))


@pytest.mark.rows("C-001", "C-003", "C-007", "C-010")
async def test_envelope(mixed: HttpApp) -> None:
    answer = await mixed.api.get("/containers?limit=25&offset=0")
    body = answer.json()
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert sorted(row["id"] for row in body["data"]) == sorted(container_id(n) for n in range(1, 13))
    assert (body["total"], body["limit"], body["offset"], body["hasMore"]) == (12, 25, 0, False)
    assert body["_links"] == {"self": "/api/v1/containers?limit=25&offset=0"}
    whole = (await mixed.api.get("/containers")).json()
    assert (whole["limit"], whole["offset"], whole["hasMore"], "_links" in whole) == (0, 0, False, False)


@pytest.mark.rows("C-002", "C-084", "C-085", "C-086", "C-090")
async def test_items(http_app: HttpApp) -> None:
    await http_app.seed(container(1, "web", include_tags=r"^\d+\.\d+.\d+$", update="1.1.0"), container(2, "db"))
    db, web = await everything(http_app)
    assert (web["id"], web["name"], web["watcher"], web["status"]) == (container_id(1), "web", "local", "running")
    assert web["includeTags"] == r"^\d+\.\d+.\d+$"
    assert "includeTags" not in db
    assert web["image"]["registry"]["url"] == "docker.io"
    assert web["image"]["name"] == "library/nginx"
    assert web["image"]["tag"] == {"value": "1.0.0", "semver": True, "tagPrecision": "specific"}
    assert (web["updateAvailable"], db["updateAvailable"]) == (True, False)
    assert web["result"]["tag"] == "1.1.0"
    assert web["identityKey"] == "::local::web"


@pytest.mark.rows("C-004", "C-005", "C-006", "C-011", "C-012", "C-026")
async def test_pages(mixed: HttpApp) -> None:
    first = (await mixed.api.get("/containers?limit=1")).json()
    assert (len(first["data"]), first["total"], first["hasMore"]) == (1, 12, True)
    assert first["_links"]["next"] == "/api/v1/containers?limit=1&offset=1"
    assert (await mixed.api.get("/containers?limit=200")).json()["hasMore"] is False
    whole = await mixed.ids()
    assert await mixed.ids("/containers?limit=1&offset=1") == whole[1:2]
    assert await mixed.ids("/containers?offset=1") == whole[1:]
    beyond = (await mixed.api.get("/containers?offset=9999&limit=5")).json()
    assert (beyond["data"], beyond["total"], beyond["hasMore"], "next" in beyond["_links"]) == ([], 12, False, False)
    running = await mixed.ids("/containers?status=running")
    page = (await mixed.api.get("/containers?status=running&offset=1")).json()
    assert ([row["id"] for row in page["data"]], page["total"]) == (running[1:], len(running))
    assert await mixed.names("/containers?sort=-name&limit=1") == ["web"]


@pytest.mark.rows("C-008", "C-009")
async def test_more_than_two_hundred(http_app: HttpApp) -> None:
    await http_app.seed(*(container(n) for n in range(1, 206)))
    for query in ("", "?limit=0"):
        body = (await http_app.api.get(f"/containers{query}")).json()
        assert (len(body["data"]), body["total"], body["hasMore"]) == (205, 205, False)
    for limit in (200, 201, 9999):
        body = (await http_app.api.get(f"/containers?limit={limit}")).json()
        assert (body["limit"], len(body["data"]), body["hasMore"]) == (200, 200, True)


@pytest.mark.rows("C-300")
@pytest.mark.parametrize(
    ("query", "limit", "offset"),
    [("limit=abc", 0, 0), ("limit=-5", 0, 0), ("offset=x", 0, 0), ("limit=25x", 25, 0), ("limit=99999", 200, 0),
     ("limit=%202", 2, 0), ("limit=2&limit=3", 2, 0), ("offset=-3", 0, 0), ("limit=" + "9" * 400, 200, 0), ("limit[a]=3", 0, 0)],
)  # fmt: skip
async def test_limits_never_refuse(mixed: HttpApp, query: str, limit: int, offset: int) -> None:
    body = (await mixed.api.get(f"/containers?{query}")).json()
    assert (body["limit"], body["offset"]) == (limit, offset)


@pytest.mark.rows("C-013", "C-014")
async def test_vulnerabilities(mixed: HttpApp) -> None:
    async def scan(query: str) -> dict[str, Any]:
        rows = (await mixed.api.get(f"/containers{query}")).json()["data"]
        return next(row["security"] for row in rows if row["name"] == "scanned")

    for query in ("", "?includeVulnerabilities=false", "?includeVulnerabilities=1"):
        found = await scan(query)
        assert found["scan"]["vulnerabilities"] == []
        assert found["scan"]["summary"] == {"high": 1}
        assert "sbom" not in found
    full = await scan("?includeVulnerabilities=true")
    assert full["scan"]["vulnerabilities"] == [{"id": "CVE-1", "severity": "HIGH"}]
    detail = (await mixed.api.get(f"/containers/{container_id(11)}")).json()
    assert detail["security"]["scan"]["vulnerabilities"] == full["scan"]["vulnerabilities"]
    assert "sbom" in detail["security"]


@pytest.mark.rows("C-015", "C-017", "C-019", "C-021", "C-025")
async def test_orders(mixed: HttpApp) -> None:
    rows = await everything(mixed)
    names = [row["name"] for row in rows]
    assert names == sorted(names, key=str.lower) == await mixed.names("/containers?sort=name")
    by_status = sorted(names, key=lambda name: not _row(rows, name)["updateAvailable"])
    assert await mixed.names("/containers?sort=status") == by_status
    ages = [_row(rows, name).get("updateAge") for name in await mixed.names("/containers?sort=age")]
    known = [age for age in ages if age is not None]
    assert ages == [None] * (len(ages) - len(known)) + sorted(known)
    assert len(set(known)) >= 3
    created = [_row(rows, name)["image"]["created"] for name in await mixed.names("/containers?sort=created")]
    assert created == sorted(created, key=lambda text: (text == "nonsense", text))


def _row(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(row for row in rows if row["name"] == name)


@pytest.mark.rows("C-016", "C-018", "C-020", "C-022", "C-023", "C-024", "C-025")
@pytest.mark.parametrize("key", ["name", "status", "age", "created"])
async def test_reversal_and_order(mixed: HttpApp, key: str) -> None:
    up = await mixed.ids(f"/containers?sort={key}")
    down = await mixed.ids(f"/containers?sort=-{key}")
    assert down == up[::-1]
    assert await mixed.ids(f"/containers?sort=-{key}&order=asc") == up
    assert await mixed.ids(f"/containers?sort={key}&order=desc") == down


@pytest.mark.rows("C-025")
async def test_order_alone_orders_by_name(mixed: HttpApp) -> None:
    whole = await mixed.ids()
    assert await mixed.ids("/containers?order=desc") == whole[::-1]
    assert await mixed.ids("/containers?order=asc") == whole


@pytest.mark.rows("C-027", "C-028", "C-029", "C-030", "C-031", "C-032", "C-033", "C-034", "C-035")
@pytest.mark.parametrize("status", ["running", "exited", "paused", "restarting", "dead", "created"])
async def test_status_filters(mixed: HttpApp, status: str) -> None:
    await check_filter(mixed, f"status={status}", lambda row: row["status"] == status)
    await check_filter(mixed, "status=stopped", lambda row: row["status"] in ("stopped", "exited"))
    await check_filter(mixed, "status=update-available", lambda row: row["updateAvailable"])
    await check_filter(mixed, "status=up-to-date", lambda row: not row["updateAvailable"] and "error" not in row)


@pytest.mark.rows("C-036", "C-037", "C-038", "C-039", "C-040", "C-041", "C-042")
async def test_kind_filters(mixed: HttpApp) -> None:
    for diff in ("major", "minor", "patch"):
        await check_filter(mixed, f"kind={diff}", lambda row, d=diff: row["updateKind"]["semverDiff"] == d)
    await check_filter(mixed, "kind=digest", lambda row: row["updateKind"]["kind"] == "digest")
    watched = await check_filter(mixed, "kind=watched", lambda row: row["labels"].get("dd.watch", "").lower() == "true")
    unwatched = await mixed.ids("/containers?kind=unwatched")
    assert sorted(watched + unwatched) == sorted(await mixed.ids())
    assert await mixed.ids("/containers?kind=all") == await mixed.ids()


@pytest.mark.rows("C-043")
async def test_watcher_filter(mixed: HttpApp) -> None:
    await check_filter(mixed, "watcher=other", lambda row: row["watcher"] == "other")
    nobody = (await mixed.api.get("/containers?watcher=nosuch")).json()
    assert (nobody["data"], nobody["total"]) == ([], 0)
    assert await mixed.ids("/containers?watcher=OTHER") == []


@pytest.mark.rows("C-044", "C-045", "C-046")
async def test_maturity_filters(mixed: HttpApp) -> None:
    for level, names in (("hot", ["cache", "web"]), ("mature", ["API"]), ("established", ["db"])):
        found = await mixed.names(f"/containers?maturity={level}")
        assert [name for name in found if name != "digest"] == names
        await check_filter(
            mixed, f"maturity={level}", lambda row, wanted=level: row.get("updateMaturityLevel") == wanted
        )


@pytest.mark.rows("C-047", "C-048", "C-049", "C-299")
async def test_container_ids(mixed: HttpApp) -> None:
    one, three = container_id(1), container_id(3)
    both = (await mixed.api.get(f"/containers?containerIds={one},{three}")).json()
    assert ({row["id"] for row in both["data"]}, both["total"]) == ({one, three}, 2)
    assert await mixed.ids(f"/containers?containerIds={one},{three}&status=running") == [one]
    assert await mixed.ids(f"/containers?containerIds={one},,%20{three}%20,{one},zzz&sort=name") == [three, one]
    assert await mixed.ids(f"/containers?containerIds={one}&containerIds={three}") == [three, one]
    for nothing in ("containerIds=", "containerIds=,"):
        assert len(await mixed.ids(f"/containers?{nothing}")) == 12
    page = (await mixed.api.get(f"/containers?containerIds={one},{three}&limit=1")).json()
    assert (len(page["data"]), page["total"], page["hasMore"]) == (1, 2, True)
    many = ",".join(container_id(n) for n in range(1, 301))
    assert len(await mixed.ids(f"/containers?containerIds={many}")) == 12


@pytest.mark.rows("C-051", "C-052", "C-053", "C-295")
@pytest.mark.parametrize(
    "query",
    ["sort=size", "sort=NAME", "sort=", "order=up", "order=", "status=foo", "status=Running", "status=", "kind=foo",
     "kind=prerelease", "maturity=old", "maturity=", "watcher=", "watcher=%20"],
)  # fmt: skip
async def test_invalid_parameters(http_app: HttpApp, query: str) -> None:
    for method, path in (("GET", "/containers"), ("POST", "/containers/watch")):
        answer = await http_app.api.request(method, f"{path}?{query}")
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("Invalid ")
    assert http_app.watchers.asked == []


async def test_unknown_parameters_are_ignored(mixed: HttpApp) -> None:
    assert len(await mixed.ids("/containers?foo=bar&_=123&sort[a]=b")) == 12
    assert await mixed.ids("/containers?sort=-created&sort=name") == await mixed.ids("/containers?sort=-created")
    assert await mixed.names("/containers?agent=edge") == ["stop"]
    assert await mixed.names("/containers?image.tag.value=9") == []


@pytest.mark.rows("C-301")
async def test_all_together(mixed: HttpApp) -> None:
    whole = await mixed.ids("/containers?status=running&sort=-name")
    query = "status=running&sort=-name&limit=2&offset=1&includeVulnerabilities=true"
    body = (await mixed.api.get(f"/containers?{query}")).json()
    assert [row["id"] for row in body["data"]] == whole[1:3]
    rest = "status=running&sort=-name&includeVulnerabilities=true"
    assert body["_links"]["self"] == f"/api/v1/containers?{rest}&limit=2&offset=1"
    assert body["_links"]["next"] == f"/api/v1/containers?{rest}&limit=2&offset=3"


async def test_suppressed_major_updates_stay_visible_by_kind(mixed: HttpApp) -> None:
    path = f"/containers/{container_id(3)}/update-policy"
    assert (await mixed.api.patch(path, json={"action": "skip-current"})).status_code == 200
    assert await mixed.names("/containers?status=up-to-date&kind=major") == ["db"]


@pytest.mark.rows("C-054", "C-056", "C-057", "C-058")
@pytest.mark.parametrize(
    ("age", "level"),
    [(7 * DAY_MS - MINUTE, "hot"), (7 * DAY_MS, "mature"), (29 * DAY_MS, "mature"), (30 * DAY_MS, "mature"),
     (30 * DAY_MS + MINUTE, "established")],
)  # fmt: skip
async def test_maturity_lines(http_app: HttpApp, age: int, level: str) -> None:
    await http_app.seed(container(1, update="1.1.0"), container(2))
    http_app.clock.advance(age / 1000)
    row = (await everything(http_app))[0]
    assert (row["updateAge"], row["updateMaturityLevel"]) == (age, level)
    assert await http_app.ids(f"/containers?maturity={level}") == [container_id(1)]


@pytest.mark.rows("C-055", "C-058", "C-060")
@pytest.mark.parametrize(
    ("threshold", "days", "level"),
    [(3, 4, "mature"), (3, 2, "hot"), (1, 1, "mature"), (400, 20, "hot"), (60, 31, "established")],
)
async def test_threshold(http_app: HttpApp, threshold: int, days: int, level: str) -> None:
    http_app.mature_after(threshold)
    await http_app.seed(aged(http_app, 1, days), container(2))
    assert await http_app.ids(f"/containers?maturity={level}") == [container_id(1)]


async def test_a_body_is_encoded_once_until_something_changes(mixed: HttpApp) -> None:
    await mixed.ids()
    before = mixed.fleet.bodies_encoded
    assert await mixed.ids() == await mixed.ids()
    assert mixed.fleet.bodies_encoded == before
    await mixed.seed(container(5, "paused", status="running"))
    assert container_id(5) in await mixed.ids("/containers?status=running")
    assert (await mixed.api.get("/containers")).json()["data"] != []
    mixed.clock.advance(HOUR_MS / 1000)
    rows = await everything(mixed)
    assert _row(rows, "web")["updateAge"] == 13 * HOUR_MS

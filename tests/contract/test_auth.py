"""Who gets in: fail-closed start, passwords, sessions, lockout, origins (platform.md §4–§6, platform-api.md §3)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import websockets
from litestar.handlers import HTTPRouteHandler

from contract.product import PASSWORD, Product, serve_product, user
from drydock.api.application import Extension, litestar_app
from drydock.compat.application import ROUTES
from kit.clock import ManualClock

WRONG = "wrong"


@pytest.fixture
async def admin_only(tmp_path: Path) -> AsyncIterator[Product]:
    async with serve_product(tmp_path, **user("admin")) as made:
        yield made


def cookie_of(answer: httpx.Response) -> str:
    """The session cookie of an answer, as `Set-Cookie` says it."""
    (found,) = [value for name, value in answer.headers.multi_items() if name == "set-cookie"]
    return found


async def test_without_configuration_everything_is_closed_and_says_how_to_open(tmp_path: Path) -> None:
    async with serve_product(tmp_path) as server:
        client = server.client()
        answer = await client.get("/api/v1/containers")
        assert answer.status_code == 401
        body = answer.json()
        assert body["error"] == "Unauthorized"
        assert "DD_AUTH_BASIC_ADMIN_HASH" in body["details"]["hint"]
        assert "www-authenticate" not in answer.headers
        health = await client.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "starting")
        assert (await client.get("/auth/status")).json() == {"providers": [], "errors": []}
        assert (await client.post("/auth/login", auth=("admin", PASSWORD))).status_code == 401
        assert (await client.get("/api/v1/no-such-route")).status_code == 401


async def test_confirmed_anonymous_mode_opens_everything(tmp_path: Path) -> None:
    async with serve_product(tmp_path, DD_ANONYMOUS_AUTH_CONFIRM="true") as server:
        client = server.client()
        assert (await client.get("/api/v1/containers")).status_code == 200
        assert (await client.get("/auth/user")).json() == {"username": "anonymous"}
        answer = await client.post("/auth/login")
        assert (answer.status_code, answer.json()) == (200, {"username": "anonymous"})
        assert "set-cookie" not in answer.headers
        listed = (await client.get("/api/v1/auth/status")).json()["providers"]
        assert listed == [{"type": "anonymous", "name": "Anonymous"}]
        assert (await client.get("/health")).status_code == 200


@pytest.mark.parametrize("word", ["yes", "1", "on"])
async def test_only_the_word_true_confirms(tmp_path: Path, word: str) -> None:
    async with serve_product(tmp_path, DD_AUTH_ANONYMOUS_CONFIRM=word) as server:
        assert (await server.client().get("/api/v1/containers")).status_code == 401


async def test_a_broken_provider_never_opens_the_instance(tmp_path: Path) -> None:
    environ = {
        "DD_AUTH_BASIC_OPS_USER": "ops",
        "DD_AUTH_BASIC_OPS_HASH": "argon2id",
        "DD_ANONYMOUS_AUTH_CONFIRM": "true",
    }
    async with serve_product(tmp_path, **environ) as server:
        client = server.client()
        answer = await client.get("/api/v1/containers")
        assert answer.status_code == 401
        assert "/auth/status" in answer.json()["details"]["hint"]
        (error,) = (await client.get("/auth/status")).json()["errors"]
        assert error["provider"] == "basic:ops"
        assert "hash" in error["error"]
        assert (await client.get("/health")).status_code == 503


async def test_anonymous_is_not_added_beside_a_provider(tmp_path: Path) -> None:
    async with serve_product(tmp_path, DD_AUTH_ANONYMOUS_CONFIRM="true", **user("admin")) as server:
        assert (await server.client().get("/api/v1/containers")).status_code == 401


async def test_login_user_logout(admin_only: Product) -> None:
    client = admin_only.client()
    answer = await client.post("/auth/login", auth=("admin", PASSWORD))
    assert (answer.status_code, answer.json()) == (200, {"username": "admin"})
    assert "no-store" in answer.headers["cache-control"]
    cookie = cookie_of(answer)
    assert cookie.startswith("drydock.sid=")
    assert {"Path=/", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Max-Age" not in cookie
    assert "Secure" not in cookie
    assert (await client.get("/auth/user")).json() == {"username": "admin"}
    assert (await client.get("/api/v1/containers")).status_code == 200
    out = await client.post("/auth/logout")
    assert (out.status_code, out.json()) == (200, {"logoutUrl": None})
    stolen = cookie.split(";")[0]
    assert (await admin_only.client().get("/auth/user", headers={"Cookie": stolen})).status_code == 401
    (entry,) = await admin_only.audit("auth-login")
    assert entry["status"] == "success"
    assert entry["container_name"] == "authentication"
    assert entry["details"].endswith("; user=admin")
    assert (await admin_only.audit("auth-logout"))[0]["user"] == "admin"


async def test_credentials_in_the_body_and_the_header_wins(admin_only: Product) -> None:
    client = admin_only.client()
    body = {"username": "admin", "password": PASSWORD}
    assert (await client.post("/auth/login", json=body)).status_code == 200
    assert (await client.post("/auth/login", json=body, auth=("admin", WRONG))).status_code == 401
    for bad in ({}, {"username": "admin"}, {"username": 1, "password": 2}):
        assert (await client.post("/auth/login", json=bad)).status_code == 401


async def test_remember_me(admin_only: Product) -> None:
    client = admin_only.client()
    answer = await client.post("/auth/login", json={"remember": True}, auth=("admin", PASSWORD))
    assert "Max-Age=2592000" in cookie_of(answer)
    forget = await client.post("/auth/remember", json={"remember": False})
    assert forget.json() == {"ok": True}
    assert "Max-Age" not in cookie_of(forget)
    other = admin_only.client()
    before = await other.post("/auth/remember", json={"remember": True})
    assert before.status_code == 200
    assert (await other.get("/auth/user")).status_code == 401
    assert "Max-Age=2592000" in cookie_of(await other.post("/auth/login", auth=("admin", PASSWORD)))


async def test_the_session_is_secure_where_the_browser_talks_tls(tmp_path: Path) -> None:
    async with serve_product(tmp_path, DD_SERVER_TRUSTPROXY="1", **user("admin")) as server:
        forwarded = {"X-Forwarded-Proto": "https"}
        answer = await server.client().post("/auth/login", auth=("admin", PASSWORD), headers=forwarded)
        assert cookie_of(answer).endswith("Secure")


async def test_header_credentials_create_no_session_and_are_verified_once(admin_only: Product) -> None:
    client = admin_only.client(auth=("admin", PASSWORD))
    answers = await asyncio.gather(*(client.get("/api/v1/containers") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert not any("set-cookie" in answer.headers for answer in answers)
    await admin_only.application.bus.drain()
    assert admin_only.services.metrics.counters.logins.value(outcome="success", provider="basic") == 1


async def test_session_fixation_fails(admin_only: Product) -> None:
    attacker = admin_only.client()
    planted = cookie_of(await attacker.post("/auth/remember", json={"remember": True})).split(";")[0]
    victim = admin_only.client()
    answer = await victim.post("/auth/login", auth=("admin", PASSWORD), headers={"Cookie": planted})
    assert answer.status_code == 200
    assert cookie_of(answer).split(";")[0] != planted
    assert (await attacker.get("/auth/user", headers={"Cookie": planted})).status_code == 401


@pytest.mark.parametrize(
    "cookie", ["drydock.sid=invented", "drydock.sid=a.b", "connect.sid=s%3Aold.sig", "drydock.sid="]
)
async def test_invented_cookies_are_nobody(admin_only: Product, cookie: str) -> None:
    assert (await admin_only.client().get("/auth/user", headers={"Cookie": cookie})).status_code == 401


async def test_sessions_end_with_the_password(tmp_path: Path) -> None:
    from drydock.auth.passwords import make_hash

    async with serve_product(tmp_path, **user("admin")) as server:
        cookie = cookie_of(await server.client().post("/auth/login", auth=("admin", PASSWORD))).split(";")[0]
    async with serve_product(tmp_path, **user("admin")) as server:
        assert (await server.client().get("/auth/user", headers={"Cookie": cookie})).status_code == 200
    async with serve_product(tmp_path, **user("admin", hash=make_hash("another"))) as server:
        assert (await server.client().get("/auth/user", headers={"Cookie": cookie})).status_code == 401


async def test_at_most_five_sessions(admin_only: Product) -> None:
    browsers = [await admin_only.signed_in() for _ in range(6)]
    codes = [(await browser.get("/auth/user")).status_code for browser in browsers]
    assert sorted(codes) == [200] * 5 + [401]
    listed = (await browsers[-1].get("/api/v1/auth/sessions")).json()
    assert listed["total"] == 5
    other = next(row for row in listed["data"] if not row["current"])
    assert (await browsers[-1].delete(f"/api/v1/auth/sessions/{other['id']}")).status_code == 204
    assert (await browsers[-1].get("/api/v1/auth/sessions")).json()["total"] == 4


BRUTE_FORCE = [
    ("POST", "/auth/login"),
    ("GET", "/auth/user"),
    ("GET", "/api/v1/containers"),
    ("GET", "/metrics"),
    ("GET", "/api/v1/no-such-route"),
    ("POST", "/auth/logout"),
]


@pytest.mark.parametrize(("method", "path"), BRUTE_FORCE)
async def test_brute_force_is_counted_on_every_route(admin_only: Product, method: str, path: str) -> None:
    client = admin_only.client()
    codes = [(await client.request(method, path, auth=("admin", f"guess{n}"))).status_code for n in range(6)]
    assert codes == [401, 401, 401, 401, 423, 423]
    refused = await client.request(method, path, auth=("admin", PASSWORD))
    assert refused.status_code == 423
    assert refused.json() == {"error": "Account temporarily locked due to repeated failed login attempts"}
    assert int(refused.headers["retry-after"]) >= 1
    assert len(await admin_only.audit("auth-login")) >= 5
    admin_only.clock.advance(901)
    assert (await client.request(method, path, auth=("admin", PASSWORD))).status_code in (200, 404, 405)


async def test_the_account_that_is_verified_is_the_account_that_is_counted(admin_only: Product) -> None:
    client = admin_only.client()
    for number in range(5):
        await client.post("/auth/login", json={"username": f"decoy{number}", "password": "x"}, auth=("admin", WRONG))
    answer = await client.post("/auth/login", auth=("admin", PASSWORD))
    assert answer.status_code == 423


async def test_a_forged_forwarding_header_does_not_dodge_the_lock(admin_only: Product) -> None:
    client = admin_only.client()
    for number in range(25):
        headers = {"X-Forwarded-For": f"10.0.0.{number}"}
        await client.get("/api/v1/containers", auth=(f"user{number}", WRONG), headers=headers)
    answer = await client.get("/api/v1/containers", auth=("admin", PASSWORD), headers={"X-Forwarded-For": "10.9.9.9"})
    assert answer.status_code == 423


async def test_behind_a_trusted_proxy_a_stranger_does_not_lock_the_owner_out(tmp_path: Path) -> None:
    async with serve_product(tmp_path, DD_SERVER_TRUSTPROXY="loopback", **user("admin")) as server:
        client = server.client()
        home, abroad = {"X-Forwarded-For": "198.51.100.7"}, {"X-Forwarded-For": "203.0.113.9"}
        assert (await client.post("/auth/login", auth=("admin", PASSWORD), headers=home)).status_code == 200
        stranger = server.client()
        for number in range(6):
            await stranger.post("/auth/login", auth=("admin", f"{WRONG}{number}"), headers=abroad)
        assert (await stranger.post("/auth/login", auth=("admin", PASSWORD), headers=abroad)).status_code == 423
        assert (await server.client().post("/auth/login", auth=("admin", PASSWORD), headers=home)).status_code == 200
        assert (await client.get("/auth/user")).status_code == 200


async def test_locks_survive_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    async with serve_product(tmp_path, clock, **user("admin")) as server:
        for number in range(5):
            await server.client().post("/auth/login", auth=("admin", f"{WRONG}{number}"))
    async with serve_product(tmp_path, clock, **user("admin")) as server:
        assert (await server.client().post("/auth/login", auth=("admin", PASSWORD))).status_code == 423


async def test_too_many_passwords_at_once(admin_only: Product) -> None:
    client = admin_only.client()
    guesses = [client.post("/auth/login", auth=(f"u{n}", f"p{n}")) for n in range(8)]
    answers = await asyncio.gather(*guesses)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].json()["error"] == "Too many concurrent login attempts"
    assert refused[0].headers["retry-after"] == "1"
    assert {answer.status_code for answer in answers} == {401, 429}


async def test_sign_in_has_a_budget(admin_only: Product) -> None:
    client = await admin_only.signed_in()
    for _ in range(150):
        assert (await client.get("/auth/user")).status_code == 200
    stranger = admin_only.client()
    codes = [(await stranger.get("/auth/status")).status_code for _ in range(101)]
    assert codes[:90] == [200] * 90
    assert codes[-1] == 429
    last = await stranger.get("/auth/status")
    assert last.json() == {"error": "Too many requests, please try again later."}
    assert last.headers["ratelimit-limit"] == "100"


ORIGINS = [
    ({}, 200),
    ({"Origin": "SELF"}, 200),
    ({"Referer": "SELF/page"}, 200),
    ({"Sec-Fetch-Site": "same-origin"}, 200),
    ({"Sec-Fetch-Site": "none"}, 200),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Referer": "https://evil.example/page"}, 403),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "SELF"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Origin": "SELF", "Referer": "https://evil.example"}, 200),
    ({"Origin": "http://127.0.0.1:1"}, 403),
]


@pytest.mark.parametrize(("headers", "status"), ORIGINS)
async def test_mutations_with_a_cookie_come_from_our_own_pages(
    admin_only: Product, headers: dict[str, str], status: int
) -> None:
    client = await admin_only.signed_in()
    sent = {name: value.replace("SELF", admin_only.url) for name, value in headers.items()}
    answer = await client.patch("/api/v1/settings", json={"updateMode": "notify"}, headers=sent)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"].startswith("CSRF validation failed")
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Origin": "https://evil.example"}
    refused = await client.patch("/api/v1/settings", json={"updateMode": "notify"}, headers=forged)
    assert refused.status_code == 403
    assert "DD_SERVER_TRUSTPROXY=1" in refused.json()["error"]


async def test_an_untrusted_https_proxy_is_shown(admin_only: Product) -> None:
    client = await admin_only.signed_in()
    assert "untrustedProxy" not in (await client.get("/api/v1/server")).json()["compatibility"]
    await admin_only.client().get("/health", headers={"X-Forwarded-Proto": "https"})
    found = (await client.get("/api/v1/server")).json()["compatibility"]["untrustedProxy"]
    assert (found["detected"], "DD_SERVER_TRUSTPROXY=1" in found["advice"]) == (True, True)


async def test_scripts_without_cookies_need_no_origin(admin_only: Product) -> None:
    client = admin_only.client(auth=("admin", PASSWORD))
    headers = {"Origin": "https://dashboard.example"}
    answer = await client.patch("/api/v1/settings", json={"updateMode": "notify"}, headers=headers)
    assert answer.status_code == 200


async def test_pages_of_other_sites_cannot_sign_anybody_in(admin_only: Product) -> None:
    for path in ("/auth/login", "/auth/remember"):
        answer = await admin_only.client().post(
            path, auth=("admin", PASSWORD), headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert answer.status_code == 403
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await admin_only.client().post("/auth/login", content="remember=true", headers=form)
    assert answer.status_code == 415


@pytest.mark.rows("C-208", "C-209")
async def test_websocket_needs_the_cookie_and_our_origin(admin_only: Product) -> None:
    client = await admin_only.signed_in()
    cookie = f"drydock.sid={client.cookies['drydock.sid']}"
    url = admin_only.url.replace("http", "ws") + "/api/v1/log/stream"

    async def upgrade(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            async with websockets.connect(url, additional_headers=sent):
                return 101
        except websockets.InvalidStatus as refused:
            return refused.response.status_code

    assert await upgrade(Cookie=cookie) == 101
    assert await upgrade(Cookie=cookie, Origin=admin_only.url) == 101
    assert await upgrade(Cookie=cookie, Origin="https://evil.example") == 403
    assert await upgrade(Cookie=cookie, Origin=admin_only.url.replace("http:", "https:")) == 403
    assert await upgrade() == 401
    assert await upgrade(Cookie="drydock.sid=invented.signature") == 401
    assert await upgrade(Origin="https://evil.example") == 403


async def test_passwords_may_contain_colons(admin_only: Product) -> None:
    assert ":" in PASSWORD
    token = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    for scheme in ("Basic", "basic", "BASIC"):
        answer = await admin_only.client().get("/auth/user", headers={"Authorization": f"{scheme} {token}"})
        assert answer.status_code == 200


@pytest.mark.parametrize("value", ["Basic", "Basic !!!", "Basic YWRtaW4=", "Bearer", "Bearer x", "Digest x", "dd_x"])
async def test_malformed_credentials_are_nobody(admin_only: Product, value: str) -> None:
    assert (await admin_only.client().get("/auth/user", headers={"Authorization": value})).status_code == 401


@pytest.mark.rows("C-297", "C-219")
async def test_any_signed_in_user_without_a_role_may_do_everything(tmp_path: Path) -> None:
    async with serve_product(tmp_path, **user("ann"), **user("bob")) as server:
        for name in ("ann", "bob"):
            client = await server.signed_in(name)
            assert (await client.patch("/api/v1/settings", json={"updateMode": "manual"})).status_code == 200
            assert (await client.get("/api/v1/debug/dump")).status_code == 200
        assert [p["name"] for p in (await client.get("/auth/status")).json()["providers"]] == ["Login"]


@pytest.mark.rows("C-296")
async def test_every_route_needs_somebody_or_is_declared_public(admin_only: Product) -> None:
    public: set[str] = set()
    client = admin_only.client()
    for route in litestar_app(admin_only.services, Extension(ROUTES)).routes:
        for handler in getattr(route, "route_handlers", [getattr(route, "route_handler", None)]):
            if not isinstance(handler, HTTPRouteHandler) or route.path.startswith("/-/"):
                continue
            if handler.opt.get("scope") == "public":
                public.add(route.path_format)
                continue
            for method in handler.http_methods - {"OPTIONS"}:
                answer = await client.request(method, route.path_format.replace("{", "x").replace("}", ""))
                assert answer.status_code == 401, (method, route.path_format, answer.status_code)
    assert public == {
        "/health",
        "/metrics",
        "/api/v1/openapi.json",
        "/api/v1/auth/status",
        "/api/v1/self-update/{operation_id}/status",
        "/api/v1/internal/self-update/finalize",
        "/auth/status",
        "/api/auth/status",
        "/auth/strategies",
        "/auth/login",
        "/auth/remember",
        "/auth/oidc/{name}/redirect",
        "/auth/oidc/{name}/cb",
    }
    assert (await client.get("/metrics")).status_code == 401


ROLES: dict[str, tuple[int, int, int]] = {
    "viewer": (200, 403, 403),
    "operator": (200, 403, 403),
    "admin": (200, 200, 200),
}


@pytest.mark.parametrize("role", list(ROLES))
async def test_roles_narrow_what_a_user_may_do(tmp_path: Path, role: str) -> None:
    async with serve_product(tmp_path, **user("pat", role=role)) as server:
        client = await server.signed_in("pat")
        codes = (
            (await client.get("/api/v1/containers")).status_code,
            (await client.get("/api/v1/debug/dump")).status_code,
            (await client.patch("/api/v1/settings", json={"updateMode": "auto"})).status_code,
        )
        assert codes == ROLES[role]
        watch = (await client.post("/api/v1/containers/watch")).status_code
        assert (watch == 403) == (role == "viewer")


async def test_the_deprecated_list_of_strategies(admin_only: Product) -> None:
    answer = await admin_only.client().get("/auth/strategies")
    assert answer.headers["deprecation"] == "@1783123200"
    assert answer.json() == {"strategies": [{"type": "basic", "name": "Login"}], "warnings": []}


async def test_the_list_of_authentications_hides_secrets(admin_only: Product) -> None:
    client = await admin_only.signed_in()
    (item,) = (await client.get("/api/v1/authentications")).json()["data"]
    assert (item["id"], item["configuration"]["hash"]) == ("basic.admin", "[REDACTED]")

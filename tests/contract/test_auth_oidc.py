"""Sign-in at a real OpenID Connect provider, and what goes wrong there (platform.md §4.4, platform-api.md §3.7)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from contract.product import PASSWORD, Product, serve_product, user
from kit.clock import ManualClock
from lab import idp
from lab.idp import IdentityProvider, sign_in

PUBLIC = "https://drydock.test"
CALLBACK = f"{PUBLIC}/auth/oidc/corp/cb"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    why = idp.available()
    if why is not None or not idp.installed():
        pytest.skip(why or "its packages are not installed; `python -m lab.idp` does it")
    made = IdentityProvider(tmp_path_factory.mktemp("idp"), CALLBACK)
    yield made
    made.stop()


def oidc(provider: IdentityProvider, **more: str) -> dict[str, str]:
    """Variables of one provider named `corp`."""
    found = {
        "DISCOVERY": provider.discovery,
        "CLIENTID": "drydock",
        "CLIENTSECRET": "shh-idp-client-secret",
        "CAFILE": str(provider.authority),
        **more,
    }
    return {"DD_PUBLIC_URL": f"{PUBLIC}/", **{f"DD_AUTH_OIDC_CORP_{name}": value for name, value in found.items()}}


@pytest.fixture
def clock() -> ManualClock:
    """Real time at the start: tokens of the provider carry it."""
    return ManualClock(int(time.time() * 1000))


@pytest.fixture
async def server(tmp_path: Path, provider: IdentityProvider, clock: ManualClock) -> AsyncIterator[Product]:
    async with serve_product(tmp_path, clock, **oidc(provider)) as made:
        yield made


async def begin(client: httpx.AsyncClient) -> str:
    answer = await client.get("/auth/oidc/corp/redirect")
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["redirect"]
    return url


async def come_back(client: httpx.AsyncClient, address: str, **headers: str) -> httpx.Response:
    """Follow the provider's redirect to our callback, which listens elsewhere than its public name."""
    return await client.get(f"{urlsplit(address).path}?{urlsplit(address).query}", headers=headers)


async def test_the_whole_way(server: Product, provider: IdentityProvider) -> None:
    client = server.client()
    await client.post("/auth/remember", json={"remember": True})
    answer = await client.get("/auth/oidc/corp/redirect")
    body = answer.json()
    query = {name: values[0] for name, values in parse_qs(urlsplit(body["redirect"]).query).items()}
    assert query["redirect_uri"] == CALLBACK
    assert (query["code_challenge_method"], query["scope"]) == ("S256", "openid email profile")
    assert query["nonce"]
    assert body["strictEndpoints"] == [f"{provider.issuer}/auth"]
    assert body["allowedOrigins"] == [provider.issuer]
    before = client.cookies["drydock.sid"]
    done = await come_back(client, await sign_in(provider, body["redirect"], "alice"))
    assert (done.status_code, done.headers["location"]) == (302, f"{PUBLIC}/")
    assert "Max-Age=2592000" in done.headers["set-cookie"]
    assert client.cookies["drydock.sid"] != before
    assert (await client.get("/auth/user")).json() == {"username": "alice@example.test"}
    listed = (await client.get("/auth/status")).json()["providers"]
    assert (listed[0]["name"], listed[0]["redirect"]) == ("corp", False)
    out = (await client.post("/auth/logout")).json()
    assert out["logoutUrl"].startswith(f"{provider.issuer}/session/end?client_id=drydock")
    assert (await client.get("/auth/user")).status_code == 401
    (entry,) = await server.audit("auth-login")
    assert (entry["status"], entry["user"]) == ("success", "alice@example.test")


async def test_a_replayed_callback_fails(server: Product, provider: IdentityProvider) -> None:
    client = server.client()
    address = await sign_in(provider, await begin(client), "alice")
    assert (await come_back(client, address)).status_code == 302
    again = await come_back(client, address)
    assert (again.status_code, again.json()["error"]) == (
        401,
        "OIDC session is missing or expired. Please retry authentication.",
    )


async def test_somebody_elses_callback_fails(server: Product, provider: IdentityProvider) -> None:
    """Login forgery: the attacker's finished sign-in is worth nothing in the victim's browser."""
    attacker, victim = server.client(), server.client()
    address = await sign_in(provider, await begin(attacker), "bob")
    assert (await come_back(victim, address)).status_code == 401
    await begin(victim)
    refused = await come_back(victim, address)
    assert (refused.status_code, refused.json()["error"]) == (
        401,
        "OIDC session state mismatch or expired. Please retry authentication.",
    )
    assert (await victim.get("/auth/user")).status_code == 401


async def test_a_callback_after_five_minutes_fails(server: Product, provider: IdentityProvider) -> None:
    client = server.client()
    address = await sign_in(provider, await begin(client), "alice")
    server.clock.advance(300)
    assert (await come_back(client, address)).status_code == 401


@pytest.mark.parametrize("query", ["code=x", "code=x&state=short", "code=x&state=%3Cscript%3E12345678"])
async def test_a_callback_without_a_usable_state_fails(server: Product, query: str) -> None:
    client = server.client()
    await begin(client)
    answer = await client.get(f"/auth/oidc/corp/cb?{query}")
    assert answer.json() == {"error": "OIDC callback is missing state. Please retry authentication."}


async def test_an_invented_code_fails(server: Product, provider: IdentityProvider) -> None:
    client = server.client()
    state = parse_qs(urlsplit(await begin(client)).query)["state"][0]
    answer = await client.get(f"/auth/oidc/corp/cb?code=invented&state={state}")
    assert (answer.status_code, answer.json()) == (401, {"error": "Authentication failed"})


async def test_an_answer_of_another_issuer_fails(server: Product, provider: IdentityProvider) -> None:
    client = server.client()
    address = await sign_in(provider, await begin(client), "alice")
    forged = address.replace(f"iss={provider.issuer.replace(':', '%3A').replace('/', '%2F')}", "iss=https%3A%2F%2Fevil")
    assert forged != address
    assert (await come_back(client, forged)).json() == {"error": "Authentication failed"}


async def test_browsers_see_the_login_page_instead_of_json(server: Product) -> None:
    answer = await server.client().get("/auth/oidc/corp/cb?code=x&state=y", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (302, f"{PUBLIC}/login?error=session")


async def test_unknown_providers_do_not_exist(server: Product) -> None:
    assert (await server.client().get("/auth/oidc/none/redirect")).status_code == 404


async def test_roles_by_group(tmp_path: Path, provider: IdentityProvider, clock: ManualClock) -> None:
    async with serve_product(tmp_path, clock, **oidc(provider, ROLEMAP="ops:operator")) as server:
        client = server.client()
        await come_back(client, await sign_in(provider, await begin(client), "alice"))
        assert (await client.get("/api/v1/containers")).status_code == 200
        assert (await client.get("/api/v1/debug/dump")).status_code == 403
        stranger = server.client()
        refused = await come_back(stranger, await sign_in(provider, await begin(stranger), "bob"))
        assert refused.status_code == 401
    async with serve_product(tmp_path, clock, **oidc(provider, ROLEMAP="ops:viewer")) as server:
        old = server.client(cookies={"drydock.sid": client.cookies["drydock.sid"]})
        assert (await old.get("/auth/user")).status_code == 401


async def test_allowed_users_only(tmp_path: Path, provider: IdentityProvider, clock: ManualClock) -> None:
    async with serve_product(tmp_path, clock, **oidc(provider, ALLOWEDUSERS="alice@example.test")) as server:
        for name, status in (("alice", 302), ("bob", 401)):
            client = server.client()
            assert (await come_back(client, await sign_in(provider, await begin(client), name))).status_code == status


async def test_bearer_tokens_are_asked_of_the_provider(server: Product, provider: IdentityProvider) -> None:
    client = server.client()
    strategy = server.services.auth.oidc["corp"]
    address = await sign_in(provider, await begin(client), "alice")
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    session = await server.services.auth.sessions.find(client.cookies["drydock.sid"])
    _, token = await strategy._openid.exchange(query["code"], session.pending["corp"][0])
    script = server.client(headers={"Authorization": f"Bearer {token}"})
    assert (await script.get("/auth/user")).json() == {"username": "alice@example.test"}
    assert "set-cookie" not in (await script.get("/api/v1/containers")).headers
    for wrong in (token[:-1] + "x", "x" * 43, "a.b.c", "eyJhbGciOiJub25lIn0.eyJhdWQiOiJvdGhlciJ9.x"):
        refused = await server.client().get("/auth/user", headers={"Authorization": f"Bearer {wrong}"})
        assert refused.status_code == 401


async def test_a_provider_that_is_away_at_start_is_asked_again(tmp_path: Path, clock: ManualClock) -> None:
    environ = {
        "DD_PUBLIC_URL": PUBLIC,
        "DD_AUTH_OIDC_CORP_DISCOVERY": f"https://localhost:{idp.free_port()}/.well-known/openid-configuration",
        "DD_AUTH_OIDC_CORP_CLIENTID": "drydock",
        "DD_AUTH_OIDC_CORP_CLIENTSECRET": "s",
    }
    async with serve_product(tmp_path, clock, **environ, **user("admin")) as server:
        client = server.client()
        assert [p["name"] for p in (await client.get("/auth/status")).json()["providers"]] == ["Login", "corp"]
        answer = await client.get("/auth/oidc/corp/redirect")
        assert (answer.status_code, answer.json()) == (500, {"error": "Unable to initialize OIDC session"})
        assert (await client.post("/auth/login", auth=("admin", PASSWORD))).status_code == 200


async def test_a_certificate_of_an_unknown_authority_is_refused(
    tmp_path: Path, provider: IdentityProvider, clock: ManualClock
) -> None:
    environ = oidc(provider)
    del environ["DD_AUTH_OIDC_CORP_CAFILE"]
    async with serve_product(tmp_path, clock, **environ) as server:
        assert (await server.client().get("/auth/oidc/corp/redirect")).status_code == 500


async def test_oidc_needs_a_public_url(tmp_path: Path, provider: IdentityProvider) -> None:
    environ = oidc(provider)
    del environ["DD_PUBLIC_URL"]
    async with serve_product(tmp_path, **environ) as server:
        (error,) = (await server.client().get("/auth/status")).json()["errors"]
        assert error == {
            "provider": "oidc:corp",
            "error": "DD_PUBLIC_URL must be set when OIDC authentication is configured",
        }


async def test_guessing_access_tokens_is_counted_and_soon_asks_nobody(server: Product) -> None:
    codes = [
        (await server.client().get("/auth/user", headers={"Authorization": f"Bearer guess-{n:040d}"})).status_code
        for n in range(27)
    ]
    assert codes == [401] * 24 + [423] * 3
    assert len(await server.audit("auth-login")) == 25
    strategy = server.services.auth.oidc["corp"]
    assert len(strategy._bearers) == 25, "a locked address makes no further question to the provider"


async def test_a_forged_host_does_not_move_the_callback(tmp_path: Path, provider: IdentityProvider) -> None:
    environ = {**oidc(provider), "DD_SERVER_TRUSTPROXY": "1"}
    async with serve_product(tmp_path, ManualClock(int(time.time() * 1000)), **environ) as server:
        forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
        answer = await server.client().get("/auth/oidc/corp/redirect", headers=forged)
        query = parse_qs(urlsplit(answer.json()["redirect"]).query)
        assert query["redirect_uri"] == [CALLBACK]
        assert "evil" not in answer.text + str(answer.headers)

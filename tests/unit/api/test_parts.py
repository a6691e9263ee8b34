"""Query reading, paging, limits, addresses: pure parts of the API."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from drydock.api.access import LARGEST_TABLE, FixedWindow
from drydock.api.network import Proxies, bucket, origin_of, own_origin
from drydock.api.request import Page, Query, links, page
from kit.clock import ManualClock


@pytest.mark.parametrize(
    ("raw", "value"),
    [(b"a=25x", 25), (b"a=x", 7), (b"a=", 7), (b"", 7), (b"a=+3", 7), (b"a=%2B3", 3), (b"a=-3", -3), (b"a=%203", 3),
     (b"a=1&a=2", 1), (b"a[b]=4", 7), (b"a=1.9", 1), (b"a=%FF", 7)],
)  # fmt: skip
def test_integers(raw: bytes, value: int) -> None:
    # a literal `+` is a blank in a query string
    assert Query(raw).integer("a", 7) == (3 if raw == b"a=+3" else value)


@pytest.mark.parametrize(
    ("raw", "value"), [(b"a=true", True), (b"a=false", False), (b"a=TRUE", True), (b"a=1", True), (b"", True)]
)
def test_flags(raw: bytes, value: bool) -> None:
    assert Query(raw).flag("a", default=True) is value


@given(st.binary(max_size=60))
def test_reading_a_query_never_fails(raw: bytes) -> None:
    query = Query(raw)
    cut = page(query)
    assert 0 <= cut.limit <= 200
    assert cut.offset >= 0
    assert links("/p", query, cut, 0, 0)["self"].startswith("/p?")


@given(st.integers(0, 30), st.integers(0, 9), st.integers(0, 40))
def test_pages_put_together_are_the_whole(size: int, limit: int, offset: int) -> None:
    rows = list(range(size))
    cut = Page(limit, offset).cut(rows)
    assert list(cut) == (rows[offset : offset + limit] if limit else rows[offset:])


def test_links_keep_other_parameters_in_order() -> None:
    query = Query(b"b=2&limit=9&a=x%20y&b=3&offset=4&c[d]=1&e=")
    found = links("/p", query, Page(2, 4), 2, 9)
    assert found == {"self": "/p?b=2&a=x+y&e=&limit=2&offset=4", "next": "/p?b=2&a=x+y&e=&limit=2&offset=6"}


def test_a_window_opens_at_the_first_request() -> None:
    clock = ManualClock()
    limiter = FixedWindow(clock, 2, 60)
    assert [limiter.hit("a").remaining for _ in range(2)] == [1, 0]
    clock.advance(59)
    refused = limiter.hit("a")
    assert (refused.allowed, refused.reset_s, refused.headers()["Retry-After"]) == (False, 1, "1")
    assert limiter.hit("b").allowed
    clock.advance(1)
    assert limiter.hit("a").allowed
    limiter.give_back("a")
    assert limiter.hit("a").remaining == 1


def test_the_table_is_bounded() -> None:
    limiter = FixedWindow(ManualClock(), 1, 60)
    for number in range(LARGEST_TABLE):
        assert limiter.hit(str(number)).allowed
    assert not limiter.hit("one more").allowed


@pytest.mark.parametrize(
    ("trust", "forwarded", "client"),
    [
        (False, "1.2.3.4", "10.0.0.9"),
        (0, "1.2.3.4", "10.0.0.9"),
        ("", "1.2.3.4", "10.0.0.9"),
        (True, "1.2.3.4, 5.6.7.8", "1.2.3.4"),
        (1, "1.2.3.4, 5.6.7.8", "5.6.7.8"),
        (2, "1.2.3.4, 5.6.7.8", "1.2.3.4"),
        ("uniquelocal", "1.2.3.4, 5.6.7.8, 192.168.1.1", "5.6.7.8"),
        ("10.0.0.9, 5.6.7.0/24", "1.2.3.4, 5.6.7.8", "1.2.3.4"),
        ("loopback", "1.2.3.4", "10.0.0.9"),
        (True, None, "10.0.0.9"),
    ],
)
def test_client_address(trust: bool | int | str, forwarded: str | None, client: str) -> None:
    assert Proxies(trust).client("10.0.0.9", forwarded) == client


def test_addresses_are_folded() -> None:
    assert bucket("2001:db8:0:12ff::1") == bucket("2001:db8:0:1200::2")
    assert bucket("2001:db8:0:1300::1") != bucket("2001:db8:0:12ff::1")
    assert bucket("::ffff:1.2.3.4") == bucket("1.2.3.4") == "1.2.3.4"


def test_origins() -> None:
    assert origin_of("https://h/x") == origin_of("https://H:443")
    assert origin_of("null") is None
    assert origin_of("http://h:99999") is None
    scope = {
        "scheme": "ws",
        "headers": [(b"host", b"in:3000"), (b"x-forwarded-host", b"out, x"), (b"x-forwarded-proto", b"https")],
    }
    assert own_origin(scope, Proxies(False)) == ("http", "in", 3000)
    assert own_origin(scope, Proxies(1)) == ("https", "out", 443)


def test_the_fast_path_relies_on_what_the_framework_still_does() -> None:
    """`fast_path` replaces two methods that Litestar calls once per request and does not document."""
    own = inspect.getsource(HTTPRouteHandler.authorize_connection)
    assert "for guard in self.resolve_guards():" in own, "guards are found in another way: see fast_path.Direct"
    assert "await guard(connection, copy(self))" in own, "guards are called in another way: see fast_path.Direct"
    assert ".authorize_connection(connection=request)" in inspect.getsource(HTTPRoute), "not called any more"
    parameters = inspect.signature(Response.to_asgi_response).parameters
    assert "request" in parameters, "answers become ASGI applications in another way: see fast_path.Encoded"

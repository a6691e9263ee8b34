"""The password for trying out."""

from __future__ import annotations

from drydock.auth.first_login import first_login
from drydock.auth.passwords import parse_hash, verify


def test_a_fresh_environment_gets_one_user_who_can_sign_in() -> None:
    made = first_login({"PATH": "/bin"})
    assert made is not None
    assert made.password in made.sentence
    assert verify(parse_hash(made.variables["DD_AUTH_BASIC_ADMIN_HASH"]), made.password)
    other = first_login({})
    assert other is not None
    assert other.password != made.password


def test_nothing_is_made_where_the_environment_says_who_may() -> None:
    for name in ("DD_AUTH_BASIC_X_USER", "dd_anonymous_auth_confirm", "DD_AUTH_OIDC_X_CLIENTID", "DD_CONFIG_FILE"):
        assert first_login({name: "x"}) is None

"""Hash notations and their bounds (platform.md §4.3)."""

from __future__ import annotations

import base64

import pytest
from argon2.low_level import Type, hash_secret_raw
from hypothesis import given
from hypothesis import strategies as st

from drydock.auth.passwords import fingerprint, make_hash, parse_hash, verify
from drydock.core.errors import ConfigError

SALT = b"0123456789abcde\xff"
DIGEST = hash_secret_raw(b"pa:ss", SALT, 2, 19_456, 1, 32, Type.ID)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


PHC = f"$argon2id$v=19$m=19456,t=2,p=1${b64(SALT)}${b64(DIGEST)}"
COMPACT = f"argon2id$19456$2$1${b64(SALT)}${b64(DIGEST)}"


@pytest.mark.parametrize(
    "text",
    [
        PHC,
        f"  {PHC}\n",
        PHC.replace("==$", "$").rstrip("="),
        PHC.replace("m=19456,t=2,p=1", "p=1,m=19456,t=2"),
        PHC.replace("+", "-").replace("/", "_"),
        COMPACT,
        COMPACT.rstrip("="),
    ],
)
def test_every_accepted_notation_means_the_same(text: str) -> None:
    stored = parse_hash(text)
    assert (stored.memory_kib, stored.passes, stored.lanes, stored.salt) == (19_456, 2, 1, SALT)
    assert verify(stored, "pa:ss")
    assert not verify(stored, "pa:sS")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("hunter2", r"\$\$"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", r"\$"),
        ("$apr1$aaaaaaaa$bbbbbbbbbbbbbbbbbbbbbb", "argon2id"),
        ("$2b$12$abcdefghijklmnopqrstuv", "argon2id"),
        (PHC.replace("argon2id", "argon2i"), "argon2id"),
        (PHC.replace("v=19", "v=16"), "version"),
        (PHC.replace("t=2", "t=1"), "passes"),
        (PHC.replace("m=19456", "m=19455"), "memory"),
        (PHC.replace("m=19456", "m=1048577"), "memory"),
        (PHC.replace("p=1$", "p=17$"), "lanes"),
        (PHC.replace("p=1$", "p=0$"), "lanes"),
        (PHC.replace(",p=1", ""), "exactly once"),
        (PHC.replace(",p=1", ",t=2"), "exactly once"),
        (PHC.replace(",p=1", ",p=1,p=1"), "exactly once"),
        (PHC.replace(b64(SALT), b64(SALT[:8])), "salt"),
        (PHC.replace(b64(DIGEST), b64(DIGEST[:16])), "digest"),
        (PHC + "=", "base64"),
        (PHC.replace(b64(SALT), "****"), "base64"),
        (COMPACT.replace("$19456$", "$x$"), "argon2id"),
    ],
)
def test_everything_else_is_refused_with_the_word_hash_and_a_reason(text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=f"hash.*{word}") as caught:
        parse_hash(text)
    assert b64(DIGEST) not in caught.value.message


def test_a_new_hash_can_be_read_and_verified() -> None:
    text = make_hash("grüße 🚢")
    assert verify(parse_hash(text), "grüße 🚢")
    assert text != make_hash("grüße 🚢")


@given(st.text(max_size=200) | st.from_regex(r"\$?argon2id(\$[a-z0-9=,+/]*){5}"))
def test_nothing_else_escapes_the_parser(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^hash "):
        parse_hash(text)


def test_a_hash_never_shows_itself() -> None:
    assert "digest" not in repr(parse_hash(PHC))


def test_fingerprints_change_with_any_part() -> None:
    assert fingerprint({"user": "a", "hash": "b"}) != fingerprint({"user": "ab", "hash": ""})

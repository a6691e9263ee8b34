"""Checks of ID tokens: signature, issuer, audience, times. Pure; imported when a provider is first used (it is heavy)."""

from __future__ import annotations

from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures accepted on ID tokens: asymmetric ones only."""
LEEWAY_S = 60


def read_keys(document: Any) -> KeySet:
    """The signing keys of a `jwks_uri`; ValueError when they cannot be used."""
    try:
        return KeySet.import_key_set(document)
    except (JoseError, KeyError, TypeError, ValueError) as error:
        raise ValueError("signing keys are not usable") from error


def signed_claims(token: str, keys: KeySet) -> dict[str, Any]:
    """The claims of a token signed by one of the keys; ValueError otherwise."""
    try:
        return dict(jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims)
    except (JoseError, ValueError, TypeError) as error:
        raise ValueError("signature is not valid") from error


def check_claims(claims: dict[str, Any], issuer: str, client_id: str, now_s: int) -> None:
    """Issuer, audience and times; ValueError when one of them does not hold."""
    rules = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=LEEWAY_S,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
    )
    try:
        rules.validate(claims)
    except JoseError as error:
        raise ValueError("claims do not hold") from error

"""Headers that every answer carries: security (platform.md §6.4) and no-store for JSON (platform-api.md §1.6)."""

from __future__ import annotations

from drydock.api.settings import ServerSettings

Header = tuple[bytes, bytes]

NO_STORE: tuple[Header, ...] = (
    (b"cache-control", b"no-store, no-cache, must-revalidate, proxy-revalidate"),
    (b"pragma", b"no-cache"),
    (b"expires", b"0"),
    (b"surrogate-control", b"no-store"),
)

_POLICY = (
    "default-src 'self'",
    "script-src 'self'",
    "script-src-attr 'none'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "object-src 'none'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'self'",
)
_FIXED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Origin-Agent-Cluster": "?1",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "X-Download-Options": "noopen",
    "X-Frame-Options": "SAMEORIGIN",
    "X-Permitted-Cross-Domain-Policies": "none",
    "X-XSS-Protection": "0",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), magnetometer=(), "
    "gyroscope=(), accelerometer=()",
}


def offers_gzip(accept_encoding: str | None) -> bool:
    """Whether `Accept-Encoding` names gzip (or `*`) with a weight above zero; gzip by name wins over `*`."""
    weights: dict[str, float] = {}
    for part in (accept_encoding or "").lower().split(","):
        name, _, parameters = part.partition(";")
        weights[name.strip()] = _weight(parameters)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _weight(parameters: str) -> float:
    key, _, value = parameters.strip().partition("=")
    if key.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def security(settings: ServerSettings) -> list[Header]:
    """The security headers of this server, encoded once. The resource policy is added per answer (CORS)."""
    policy = [*_POLICY, "upgrade-insecure-requests"] if settings.tls else list(_POLICY)
    found = {"Content-Security-Policy": "; ".join(policy), **_FIXED}
    if settings.tls:
        found["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return [(name.lower().encode(), value.encode()) for name, value in found.items()]

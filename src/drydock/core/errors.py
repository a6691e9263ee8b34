"""The one tree of errors that Drydock raises on purpose.

Each class carries what a person and a program need: the HTTP status, a stable code and a hint that says what to do.
The HTTP body (`{"error": message, …}`, container-api.md §1.6) and the OpenAPI entry derive from the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class DrydockError(Exception):
    """Root of the tree.

    `message` is shown to people and never contains a secret. `hint` says what to do about it.
    `details` becomes the `details` object of the answer; `siblings` are extra top-level fields where the contract
    names them (for example `status` in the 409 of a cancel).
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal-error"
    default: ClassVar[str] = "Internal server error"

    def __init__(
        self,
        message: str | None = None,
        *,
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        siblings: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message or self.default
        self.hint = hint
        self.details = dict(details or {})
        self.siblings = dict(siblings or {})
        self.headers = dict(headers or {})
        super().__init__(self.message)


class BadRequest(DrydockError):
    """The request itself is wrong, or its precondition does not hold."""

    status = 400
    code = "bad-request"
    default = "Invalid request parameters"


class InvalidReference(BadRequest):
    """A text that is no image reference (watching.md §4)."""

    code = "invalid-reference"
    default = "Not a valid image reference"


class InvalidPattern(BadRequest):
    """A tag filter that RE2 refuses, or longer than 1024 characters."""

    code = "invalid-pattern"
    default = "Not a valid regular expression"


class InvalidTransform(BadRequest):
    """A tag transform whose expression cannot be used (watching.md §7.3)."""

    code = "invalid-transform"
    default = "Not a valid tag transform"


class Unauthorized(DrydockError):
    """No one is signed in, or the credentials are wrong."""

    status = 401
    code = "unauthorized"
    default = "Unauthorized"


class Forbidden(DrydockError):
    """Signed in, but not allowed; or a feature is switched off."""

    status = 403
    code = "forbidden"
    default = "Permission denied"


class NotFound(DrydockError):
    """What was requested does not exist."""

    status = 404
    code = "not-found"
    default = "Not found"


class MethodNotAllowed(DrydockError):
    """The path exists with other methods."""

    status = 405
    code = "method-not-allowed"
    default = "Method not allowed"


class Conflict(DrydockError):
    """The request conflicts with the current state."""

    status = 409
    code = "conflict"
    default = "Conflict"


class Gone(DrydockError):
    """Removed from the API; `siblings` say where it went."""

    status = 410
    code = "gone"
    default = "Gone"


class PayloadTooLarge(DrydockError):
    """The body, or the requested log, is larger than the limit."""

    status = 413
    code = "payload-too-large"
    default = "Request body too large"


class UnsupportedMediaType(DrydockError):
    """A body that is not JSON."""

    status = 415
    code = "unsupported-media-type"
    default = "Content-Type must be application/json"


class Unprocessable(DrydockError):
    """Well-formed, but it cannot be done with this container."""

    status = 422
    code = "unprocessable"
    default = "Unprocessable"


class UpgradeRequired(DrydockError):
    """A plain request for what is a WebSocket."""

    status = 426
    code = "upgrade-required"
    default = "Use a WebSocket"


class ConfirmationRequired(DrydockError):
    """A destructive request without its confirmation header (container-api.md §1.10)."""

    status = 428
    code = "confirmation-required"
    default = "Confirmation required"


class TooManyRequests(DrydockError):
    """Over a rate limit."""

    status = 429
    code = "too-many-requests"
    default = "Too many requests, please try again later."


class NotSupported(DrydockError):
    """Not possible over this connection or Engine."""

    status = 501
    code = "not-supported"
    default = "Not supported"


class BadGateway(DrydockError):
    """A service that had to be asked gave no usable answer."""

    status = 502
    code = "bad-gateway"
    default = "Bad gateway"


class Unavailable(DrydockError):
    """Switched off, or something needed cannot be reached now."""

    status = 503
    code = "unavailable"
    default = "Service unavailable"


class ConfigError(DrydockError):
    """Configuration that cannot be used; the message names the variable and what is allowed."""

    code = "configuration-error"
    default = "Invalid configuration"


class EngineError(DrydockError):
    """A Docker Engine refused or failed. `engine_status` is its HTTP status, 0 where there was none."""

    code = "engine-error"
    default = "The Docker Engine reported an error"

    def __init__(self, message: str | None = None, *, engine_status: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.engine_status = engine_status


class EngineUnreachable(EngineError):
    """No Engine answers at its address."""

    code = "engine-unreachable"
    default = "The Docker Engine cannot be reached"


class HostUnavailable(EngineUnreachable):
    """No host answers for this container: its watcher is not configured or blocked, or its agent is not connected.

    The message names the host and the reason.
    """

    status = 503
    code = "host-unavailable"
    default = "The host is not available"


class EngineNotFound(EngineError):
    """The Engine does not know this container, image, network or volume."""

    code = "engine-not-found"
    default = "Not known to the Docker Engine"


class EngineConflict(EngineError):
    """The Engine's state forbids it: name taken, container running, and so on."""

    code = "engine-conflict"
    default = "Conflicts with the state of the Docker Engine"


class EngineNotSupported(EngineError):
    """This Engine (Podman, a restricted proxy, an old release) does not offer the call."""

    status = 501
    code = "engine-not-supported"
    default = "This Engine does not offer the call"


class EngineAuthBlocked(EngineError):
    """The watcher's credentials cannot be used, so nothing is sent (watching.md §1.4)."""

    code = "engine-auth-blocked"
    default = "The credentials for the Docker API cannot be used"


class RegistryError(DrydockError):
    """A registry check failed. `code` is the category of registries.md §4.6 and reaches `error.code` of a container."""

    code = "manifest-fetch-failed"
    default = "The registry's answer could not be used"


class RegistryAuthFailed(RegistryError):
    """The registry, or its token endpoint, refused."""

    code = "registry-auth-failed"


class RegistryNotFound(RegistryError):
    """No configured registry serves this host."""

    code = "registry-not-found"


class RegistryRateLimited(RegistryError):
    """429, or a host paused because of one. `retry_at` is an epoch time in ms."""

    code = "registry-rate-limited"

    def __init__(self, message: str | None = None, *, retry_at: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_at = retry_at


class RegistryNetworkError(RegistryError):
    """Time-out, reset, refused connection, unknown host, certificate fault."""

    code = "registry-network-error"


class ScanFailed(DrydockError):
    """A scanner, SBOM generator or signature verifier gave no usable answer. `transient`: trying again may help."""

    code = "security-scan-failed"
    default = "Security scan failed"

    def __init__(self, message: str | None = None, *, transient: bool = False, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient


class ScannerMissing(ScanFailed):
    """The program is not installed, or may not be run."""

    code = "security-scanner-missing"

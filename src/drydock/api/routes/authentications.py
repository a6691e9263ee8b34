"""`/api/v1/authentications`: the configured ways to sign in (platform-api.md §7)."""

from __future__ import annotations

from drydock.api import components
from drydock.auth.room import Authentication
from drydock.core.component import Component
from drydock.core.secret import MASK


def listed(auth: Authentication) -> list[Component]:
    """Every registered provider, secrets masked."""
    found = [
        _item("basic", user.provider.removeprefix("basic:"), {"user": user.user, "hash": MASK, "role": user.role})
        for user in auth.passwords.users
    ]
    for name, strategy in auth.oidc.items():
        config = strategy.settings
        found.append(
            _item(
                "oidc",
                name,
                {
                    "clientid": MASK,
                    "clientsecret": MASK,
                    "discovery": config.discovery,
                    "insecure": config.insecure,
                    "redirect": config.redirect,
                    "timeout": int(config.timeout_s * 1000),
                    **({"cafile": MASK} if config.cafile else {}),
                    **({"logouturl": config.logout_url} if config.logout_url else {}),
                },
            )
        )
    return [*found, *([_item("anonymous", "anonymous", {})] if auth.anonymous else [])]


def _item(type: str, name: str, configuration: dict[str, object]) -> Component:
    return Component(id=f"{type}.{name}", type=type, name=name, configuration=configuration)


router = components.routes("authentications", lambda request: listed(request.services.auth))

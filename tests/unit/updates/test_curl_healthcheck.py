"""The health check of our own container: does it call curl? (platform-api.md §4.2)"""

from __future__ import annotations

import pytest

from drydock.updates.self_update.curl_healthcheck import curl_override


@pytest.mark.parametrize(
    "test",
    [
        ["CMD-SHELL", "curl -f http://localhost:3000/health || exit 1"],
        ["CMD", "curl", "--fail", "http://localhost:3000/health"],
        ["CMD-SHELL", "exec /usr/bin/curl -s localhost"],
        ["CMD-SHELL", "true;curl localhost"],
    ],
)
def test_found(test: list[str]) -> None:
    found = curl_override({"Name": "/drydock", "Config": {"Healthcheck": {"Test": test}}})
    assert (found.detected, found.container_name) == (True, "drydock")
    assert found.command_preview == " ".join(test[1:])


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"Healthcheck": None},
        {"Healthcheck": {"Test": ["NONE"]}},
        {"Healthcheck": {"Test": ["CMD", "/bin/healthcheck"]}},
        {"Healthcheck": {"Test": ["CMD-SHELL", "curling --help"]}},
    ],
)
def test_not_found(config: dict[str, object]) -> None:
    assert curl_override({"Name": "/drydock", "Config": config}).detected is False


def test_the_preview_is_short_and_holds_no_credentials() -> None:
    command = "curl https://me:s3cret@host/" + "x" * 300
    found = curl_override({"Name": "/d", "Config": {"Healthcheck": {"Test": ["CMD-SHELL", command]}}})
    assert found.command_preview is not None
    assert len(found.command_preview) == 160
    assert "s3cret" not in found.command_preview

"""Outbound HTTP: one session, proxies, address guard, size and time caps, redirects, error texts. What registries, notifications, icons,
release notes and sign-in send to other hosts goes through here; the Engine API does not (`docker/`)."""

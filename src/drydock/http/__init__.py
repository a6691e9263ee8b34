"""Outbound HTTP: sessions, proxies, DNS order, TLS files, address rules, limits of time and size, error texts (platform.md §2.6).

Registries, notifications, icons, release notes and OpenID Connect send through one `client.HttpClient`, which `app`
builds once. `await http.exchange(HttpRequest("GET", url))` is one request to one server, `await http.send(...)` follows
its redirects; both give an `Answer` with any status, or raise `TransportError`, whose `text` says the cause in a few words
for people. Deadlines, largest body, `TlsFiles`, an own proxy and an `AddressRule` are fields of `HttpRequest`. Signing in,
retries and the meaning of a status belong to the callers. The Engine API does not go through here (`docker/`).
"""

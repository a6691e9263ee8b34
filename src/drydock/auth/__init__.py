"""Sign-in: passwords, OpenID Connect, sessions, API keys, roles, lockout (platform.md §4–§6, §13).

`room` puts it together. Which route needs which scope is the API's; it asks `caller.Access` who calls.
"""

"""The HTTP surface: one module per resource in `routes`, what holds for all of them around it (container-api.md, platform-api.md).

`application` builds the app, `middleware` handles every request, `services` is what handlers reach. Nothing is decided
here: rooms decide, handlers read the request and encode the answer. Routes for other products' clients are `compat/`.
"""

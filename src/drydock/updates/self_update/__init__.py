"""Updates of what Drydock stands on: its own container, and the socket proxy it talks through (updates.md §13).

No process can stop itself and go on. So a *helper* – a container of the image that runs now, known to be good – stops the
old container, starts the new one, judges it and takes one of them away. `identity` says which container is ours,
`helper` how the helper is made and what it is given, `handover` is the manager's half of the work, `swap` the helper's
half, `process` the program that runs inside of the helper, `status` what the API reports and accepts.
"""

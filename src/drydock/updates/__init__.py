"""Updates: admission, the queue, plans that cannot lose a container, recovery, rollbacks, groups (updates.md).

Start reading at `room.py`. `plan/` says what happens as generators of effects, `execution/` performs it with a journal,
`compose/` edits files, `self_update/` is about Drydock's own container. Whether an update may run is decided in
`core.policy.eligibility`; scans and signatures are `security/`.
"""

"""Triggers that send: which are configured, which containers they concern, what they say and how it is sent (notifications.md).

`room.Notifications` is the room. `providers/` has one module for each service, `templates/` the language of texts,
`trigger_worker` reacts to events for one trigger. Actions that apply updates are listed and started here like every
trigger, and carried out in `updates/`.
"""

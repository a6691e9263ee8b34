"""Triggers that tell: what is configured, whom an event concerns, what it says, and how it is delivered (notifications.md).

Actions that apply updates are configured here like every trigger (`families`), but carried out by `drydock.updates`.
"""

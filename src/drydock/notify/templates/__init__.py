"""The `${…}` language of message templates: `render` evaluates, `parser` reads, `methods` are those of texts and lists.

Not here: the names that templates know, and the built-in texts (`notify.texts`). Follows notifications.md §8.1.
"""

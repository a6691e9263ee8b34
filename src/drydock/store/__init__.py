"""The truth that survives: tables, repositories and migrations. Knows the core only; decides nothing.

One module per collection: its table and its repository. `database` opens the file or the server, `migrations` holds the
explicit steps of the schema (platform.md §11).
"""

"""One schema for every `DD_*` variable (platform.md §1).

`kinds` are the value types, `schema` ties an option to a field of a section, sections and families are declared in their rooms,
`source` reads the environment, secret files and the YAML file, `load` puts them together, `reference` prints the
documentation and the effective configuration. Nothing else in Drydock reads the environment.
"""

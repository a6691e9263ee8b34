"""Where variables come from besides the environment (platform.md §1)."""

from __future__ import annotations

from drydock.config import kinds
from drydock.config.schema import option, section


@section("DD_", "Configuration", "Where settings come from.")
class ConfigSettings:
    """Declared for documentation and validation; `config.source` reads it before everything else."""

    config_file: str | None = option("CONFIG_FILE", kinds.path(), default=None, help="YAML file with further settings.")

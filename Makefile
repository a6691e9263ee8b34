# Two commands matter: `make run` and `make test`. Everything is set up by them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TOOL   := .venv/tool

.PHONY: setup run test matrix check bench fuzz lock docs clean

setup: $(STAMP)

# uv lives in a small environment of its own; the lock carries hashes and no addresses.
$(STAMP): dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(TOOL)/bin/uv || { $(PYTHON) -m venv $(TOOL) && $(TOOL)/bin/python -m pip install -q --disable-pip-version-check uv; }
	@VIRTUAL_ENV=$(VENV) $(TOOL)/bin/uv pip sync -q --python $(BIN)/python --require-hashes --compile-bytecode dev.lock
	@$(TOOL)/bin/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src
	@touch $(STAMP)

run: setup
	@$(BIN)/python -m compileall -q src
	@PYTHONPATH=tests $(BIN)/python -m lab.run

test: setup
	@bash tests/run

# The crash matrices of updates whole; `make test` runs a tenth of them.
matrix: setup
	$(BIN)/python -m pytest -m matrix --whole-matrix -n auto tests/unit/updates

check: setup
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	@bash bench/run

# At least 20,000 cases over the whole OpenAPI document (admin key, viewer key, a browser, nobody), with a table of what was
# answered; a quarter of an hour. `make test` sends a few of them.
fuzz: setup
	DRYDOCK_FUZZ_EXAMPLES=$${DRYDOCK_FUZZ_EXAMPLES:-60} DRYDOCK_FUZZ_LEAST=$${DRYDOCK_FUZZ_LEAST:-20000} $(BIN)/python -m pytest -q tests/fuzz

lock: setup
	$(TOOL)/bin/uv pip compile -q --generate-hashes --no-header --python-version 3.11 --extra postgres pyproject.toml -o requirements.lock
	$(TOOL)/bin/uv pip compile -q --generate-hashes --no-header --python-version 3.11 --extra postgres --group dev -c requirements.lock pyproject.toml -o dev.lock

docs: setup
	$(BIN)/drydock config docs > docs/configuration.md

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist

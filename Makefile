# make demo        a first dataset, a minute after cloning
# make check       before every commit: lint, formatting, import contracts, types, pages and wording, the fast tests
# make test        before every pull request: the same, with all tests but those marked long (two at a time)
# make test-long   the tests marked long
# make contracts   the import contracts alone: which folder may import which
# make docs        write the generated pages of docs/reference: recipe, models, commands, deployments
# make lock        resolve requirements.lock
# make setup       only install into .venv; every other target does that first
# make clean       remove .venv and out
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# Tests of one file run in one process, since they share its servers and models.
TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Pages of docs/reference, each written by a script of docs/tools.
GENERATED := recipe models commands deployments

.PHONY: setup demo check test test-long lint contracts docs lock clean tree

setup: .venv/installed

# torch goes first: whatever build the index offers for the locked version, CPU or CUDA, the rest then fits it.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "imagemill needs Python 3.11 or newer, not " + sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: setup
	$(BIN)/imagemill build data/recipes/demo.yaml

check: lint contracts
	$(PYTEST) $(TWO) -m 'not slow and not long'

test: lint contracts
	$(PYTEST) $(TWO) -m 'not long'

test-long: setup
	$(PYTEST) $(TWO) -m long || [ $$? -eq 5 ] # 5: no test is marked so

# mypy runs where pyproject.toml configures it.
lint: tree
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	if grep -q '^\[tool\.mypy\]' pyproject.toml; then \
		cd .venv/tree && ../bin/mypy --config-file ../../pyproject.toml --cache-dir ../mypy-cache; fi
	for page in $(GENERATED); do $(BIN)/python docs/tools/write_$$page.py --check || exit; done
	$(BIN)/python docs/tools/check_links.py
	$(BIN)/python docs/tools/check_words.py
	$(BIN)/python docs/tools/test_kinds.py --check

contracts: tree
	cd .venv/tree && ../bin/lint-imports --no-cache --config ../../pyproject.toml

# The folders lie at the top, but are imported as imagemill.*. Python learns that from the installation; import-linter
# and mypy read files, so they get a copy in which each folder lies where its name says.
tree: setup
	rm -rf .venv/tree
	mkdir -p .venv/tree
	cp -r imagemill .venv/tree/
	cp -r flows tasks models data .venv/tree/imagemill/

docs: setup
	for page in $(GENERATED); do $(BIN)/python docs/tools/write_$$page.py || exit; done

# No hashes, and torch by its public version: the CPU and the CUDA build are both torch==2.13.0.
lock: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools
	echo 'torch==2.13.0' > .venv/torch.txt
	$(BIN)/python -c 'import tomllib; groups = tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]; \
		print(*groups["lint"], *groups["test"], *groups["stores"], sep="\n")' > .venv/groups.in
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --annotation-style line --constraint .venv/torch.txt \
		--output-file requirements.lock pyproject.toml .venv/groups.in
	sed -i -e 's/+cpu//' -e 's/ -c .venv\/torch.txt,//' -e 's/-r .venv\/groups.in/pyproject.toml/' requirements.lock

clean:
	rm -rf .venv out

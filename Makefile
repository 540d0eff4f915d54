# make demo   a first dataset, a minute after cloning
# make test   lint, import contracts, docs/recipe.md and docs/models.md current, and every test (two at a time)
# make docs   write docs/recipe.md and docs/models.md anew from the recipe's classes and the catalog
# make lock   resolve requirements.lock anew
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test docs lock clean

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

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python docs/write_recipe.py --check
	$(BIN)/python docs/write_models.py --check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

docs: setup
	$(BIN)/python docs/write_recipe.py
	$(BIN)/python docs/write_models.py

# No hashes, and torch by its public version: the CPU and the CUDA build are both torch==2.13.0.
lock: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools
	echo 'torch==2.13.0' > .venv/torch.txt
	$(BIN)/pip-compile --quiet --extra test --strip-extras --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --annotation-style line --constraint .venv/torch.txt \
		--output-file requirements.lock pyproject.toml
	sed -i -e 's/+cpu//' -e 's/ -c .venv\/torch.txt,//' requirements.lock

clean:
	rm -rf .venv out

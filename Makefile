# Each target sets up what it needs, and is quick once that is there.
# A Python of your choice: make demo PYTHON=/path/to/python

VENV := .venv
BIN := $(VENV)/bin
SCENES_VENV := .venv-scenes
# 64 pixels on one core: the discriminator looks at 2 x 2 pixels as channels; float32, for CPUs without bfloat16
LETTERS := --data data/letters-64 --dim-z 20 --discriminator-width 32 --fold 2 --no-bfloat16
PAIRS := $(LETTERS) --batch-size 24 --together 2 --discriminator-rate 0.0006
ALONE := $(PAIRS) --alone --warm-up 20 --ema 0.99
PYTHON ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:  # two targets must not install into one environment at once
.PHONY: help demo faces test check lint docs bench fuzz scenes builtin letters clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.ready-test ## Find directions in the built-in generator and render them (minutes)
	@BIN=$(BIN) scripts/demo.sh

faces: $(VENV)/.ready-test ## Find directions in a network of faces that somebody else trained (minutes; fetches 13 MB)
	@BIN=$(BIN) scripts/faces.sh

test: $(VENV)/.ready-test ## Run the tests (minutes; on the CPU)
	@echo "==> Running the tests"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: lint test ## Run all checks: style, types, doctests, tests

lint: $(VENV)/.ready-dev ## Check style, types and the examples in docstrings
	@echo "==> Checking style"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@echo "==> Checking types"
	@$(BIN)/mypy
	@echo "==> Running the examples in docstrings"
	@$(BIN)/python -m pytest -q --doctest-modules directions

docs: $(VENV)/.ready-dev ## Build the documentation site in build/site (no network)
	@echo "==> Building the documentation"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Open build/site/index.html"

bench: $(VENV)/.ready-test ## Run the benchmarks (opt-in; quiet machine, please)
	@echo "==> Running the benchmarks"
	@for file in benchmarks/bench_*.py; do echo "--> $$file"; $(BIN)/python "$$file" || exit 1; done

fuzz: $(VENV)/.ready-test ## Fuzz the direction-file reader and the page, at length (minutes)
	@echo "==> Fuzzing"
	@for file in scripts/fuzz_*.py; do echo "--> $$file"; $(BIN)/python "$$file" || exit 1; done

scenes: $(SCENES_VENV)/.ready ## Render the scenes data set with Blender (half an hour; resumes; Python 3.11)
	@echo "==> Rendering the scenes to data/; Ctrl-C stops, the same command goes on"
	@$(SCENES_VENV)/bin/python scripts/render_scenes.py

builtin: $(VENV)/.ready-test ## Train the built-in generator on the scenes (hours; resumes)
	@echo "==> Training the built-in generator; Ctrl-C stops, the same command goes on"
	@$(BIN)/python scripts/builtin/train.py
	@$(BIN)/python scripts/builtin/train.py --out outputs/builtin-fine --start outputs/builtin --steps 800 --texture 0.5 \
		--discriminator-rate 0.0002 --decay-from 0.3 --ema 0.99
	@$(BIN)/python scripts/builtin/train.py --out outputs/builtin-colour --start outputs/builtin-fine --steps 500 \
		--texture 0.5 --colour 5 --discriminator-rate 0.0002 --decay-from 0.3 --ema 0.99
	@$(BIN)/python scripts/builtin/export.py scenes

letters: $(VENV)/.ready-test data/letters-64/dataset.json ## Render letters and train their generator (hours; fetches 508 MB; resumes)
	@echo "==> Training the generator of letters; Ctrl-C stops, the same command goes on"
	@$(BIN)/python scripts/builtin/train.py --out outputs/letters $(LETTERS) --steps 1923 --batch-size 48 --decay-from 1 \
		--ema 0.998
	@$(BIN)/python scripts/builtin/train.py --out outputs/letters-pairs --start outputs/letters $(PAIRS) --steps 2000 \
		--until 1719 --factors 2 --warm-up 200 --decay-from 0.6 --ema 0.998
	@$(BIN)/python scripts/builtin/train.py --out outputs/letters-clean --start outputs/letters-pairs $(PAIRS) \
		--steps 560 --until 387 --factors 0.4 --decay-from 0.4 --ema 0.99
	@$(BIN)/python scripts/builtin/train.py --out outputs/letters-wide --start outputs/letters-clean outputs/letters \
		$(ALONE) --scale 1.2 --steps 1400 --until 435 --factors 2 --agree 0.75 --decay-from 0.4
	@$(BIN)/python scripts/builtin/train.py --out outputs/letters-wide-2 --start outputs/letters-wide $(ALONE) --scale 1.2 \
		--steps 580 --until 242 --factors 3 --agree 0.7 --decay-from 0.3
	@$(BIN)/python scripts/builtin/train.py --out outputs/letters-last --start outputs/letters-wide-2 $(ALONE) --scale 1.25 \
		--steps 340 --factors 5 --agree 0.7 --decay-from 0.2
	@$(BIN)/python scripts/builtin/figures.py --judge
	@$(BIN)/python scripts/builtin/export.py letters --samples 256 --scale 1.3

data/letters-64/dataset.json: scripts/render_letters.py | $(VENV)/.ready-test
	@echo "==> Rendering letters of open fonts to data/letters-64"
	@$(BIN)/python scripts/render_letters.py

clean: ## Remove environments, caches and build products (not data/ and outputs/)
	rm -rf $(VENV) $(SCENES_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find directions tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.ready-test $(VENV)/.ready-dev: $(VENV)/.ready-%: pyproject.toml constraints.txt scripts/set_up.sh
	@PYTHON="$(PYTHON)" scripts/set_up.sh $(VENV) -c constraints.txt -e '.[$*]'
	@touch $@

# bpy has wheels for one version of Python only.
$(SCENES_VENV)/.ready: scripts/scenes-requirements.txt scripts/set_up.sh
	@PYTHON="$(or $(PYTHON),python3.11)" scripts/set_up.sh $(SCENES_VENV) -r scripts/scenes-requirements.txt
	@touch $@

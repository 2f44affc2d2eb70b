# make demo    environment, data, teacher, student, distilled student, table and pictures
# make test    environment, linter, type checker and test suite
# make test-research   the tests of research/: benchmarks, ablations, their data and figures
# make docs    the documentation as web pages: site/index.html
# make demo-bccd DATA=FOLDER WEIGHTS=FILE    the demo on real photographs, with a teacher that starts from WEIGHTS
# make demo-cls    classifiers of few labelled digits, distilled by RCKA, KD, DIST and PCKA, over seeds
#
# A finished step leaves a stamp in $(VENV)/stamps and is not repeated.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
DATA ?= data/bccd

STAMPS := $(VENV)/stamps
MADE_WITH := $(shell cat $(STAMPS)/requirements 2>/dev/null)
STACK ?= $(or $(MADE_WITH),openmmlab)
ifneq ($(or $(MADE_WITH),$(STACK)),$(STACK))
$(error $(VENV) was made with STACK=$(MADE_WITH), not $(STACK): name another folder, such as VENV=.venv-$(STACK))
endif

MMCV_openmmlab := mmcv==2.1.0
MMCV_onedl := onedl-mmcv==2.3.6

BIN := $(VENV)/bin
# MMPretrain has an environment of its own on top: where it is installed, MMDetection imports it, which takes seconds.
CLASSIFICATION := $(VENV)-classification
# One worker per core (four at most), each with one thread; a worker takes one test file at a time.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile \
    --no-loadscope-reorder
CLASSIFIERS := OMP_NUM_THREADS=1 $(CLASSIFICATION)/bin/python -m pytest tests/classification
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.NOTPARALLEL:
.PHONY: docs venv install classification demo demo-teacher demo-bccd demo-cls test test-research test-full test-onedl lint format clean

venv: $(STAMPS)/venv
classification: $(CLASSIFICATION)/ready
install: $(STAMPS)/package
ifneq ($(origin TORCH),file)
	@test "$$(cat $(STAMPS)/torch)" = "$(TORCH)" || { \
	    echo "$(VENV) was made with TORCH=\"$$(cat $(STAMPS)/torch)\", not \"$(TORCH)\":" \
	         "run 'make clean' first, or name another folder (VENV=.venv-other)"; exit 1; }
endif

demo: install
	$(BIN)/python tools/demo.py --work-dir work_dirs/demo

demo-teacher: install
	$(BIN)/python tools/demo.py --work-dir work_dirs/demo --only teacher

demo-bccd: install
	$(BIN)/python tools/demo.py --config-dir research/configs/bccd --data-root "$(DATA)" --work-dir work_dirs/bccd \
	    $(if $(WEIGHTS),--teacher-cfg-options "model.backbone.init_cfg.checkpoint=$(WEIGHTS)")

demo-cls: classification
	$(CLASSIFICATION)/bin/python -m research.classification.demo_cls --work-dir work_dirs/demo_cls

test: install classification lint
	$(PYTEST)
	$(CLASSIFIERS)

test-research: install classification lint
	$(PYTEST) research/tests
	$(CLASSIFIERS:tests/%=research/tests/%)

test-full: install classification lint docs
	$(PYTEST) -m "full or not full" tests research/tests
	$(CLASSIFIERS) research/tests/classification -m "full or not full"

# The same suite on the maintained forks of the MM packages, in an environment of its own.
test-onedl:
	$(MAKE) test VENV=.venv-onedl STACK=onedl

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/python -m mypy

# The documentation, strictly: site/index.html. Its environment is made once.
docs: $(VENV)-docs/ready
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --strict --quiet

$(VENV)-docs/ready: requirements/docs.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/docs.txt
	touch $@

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) $(VENV)-classification $(VENV)-docs site build *.egg-info pcka_mmdet/.mim .pytest_cache .ruff_cache .mypy_cache

# The environment, step by step.

$(STAMPS)/venv:
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 12) or sys.exit( \
	    'Python 3.10, 3.11 or 3.12 is needed, $(PYTHON) is %d.%d: write for example  make PYTHON=python3.11' % v)"
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/torch: requirements/build.txt | $(STAMPS)/venv
	$(PIP) "$(TORCH)" -r requirements/build.txt
	@echo "$(TORCH)" > $@

$(STAMPS)/requirements: $(filter-out requirements/classification%,$(wildcard requirements/*.txt)) $(STAMPS)/torch
	$(PIP) -r requirements/runtime.txt -r requirements/demo.txt -r requirements/onnx.txt \
	    -r requirements/tests.txt
	$(PIP) --no-deps --no-build-isolation -r requirements/$(STACK).txt -r requirements/mim.txt
	@echo "$(STACK)" > $@

# FORCE_CUDA=1 also builds the CUDA operators; a later call without it keeps them.
$(STAMPS)/mmcv $(STAMPS)/mmcv-cuda: requirements/install_mmcv.py $(STAMPS)/torch
	$(BIN)/python requirements/install_mmcv.py $(MMCV_$(STACK))
	@touch $(STAMPS)/mmcv $@

$(STAMPS)/package: setup.py pyproject.toml $(STAMPS)/requirements $(STAMPS)/mmcv$(if $(filter 1,$(FORCE_CUDA)),-cuda)
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(CLASSIFICATION)/ready: $(wildcard requirements/classification*.txt) $(STAMPS)/package
	$(BIN)/python -m venv $(CLASSIFICATION)
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
	    > "$$($(CLASSIFICATION)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/detection.pth"
	$(CLASSIFICATION)/bin/python -m pip install --quiet "$$(cat $(STAMPS)/torch)" torchvision -r requirements/classification.txt
	$(CLASSIFICATION)/bin/python -m pip install --quiet --no-deps -r requirements/classification_$(STACK).txt
	@touch $@

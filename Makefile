# Each target sets up what it needs by itself, in .venv.
PYTHON ?= python3
BIN := .venv/bin
PLUGINS := $(wildcard plugins/*/pyproject.toml)
# new entry points need a reinstall, so the stamps depend on every pyproject.toml
SOURCES := pyproject.toml constraints.txt $(PLUGINS)

# several processes of several threads each share the cores in `test`: waiting threads must not spin
export OMP_WAIT_POLICY := passive

.PHONY: demo demo-learn test check wheel-check bench clean help

help:
	@echo "make demo   render the sample photos; prints where the pictures are"
	@echo "make demo-learn  train the smallest recipe; prints where the report is"
	@echo "make test   run the tests"
	@echo "make check  lint, types, import contracts"
	@echo "make wheel-check  install the wheel for every Python found, in clean environments"
	@echo "make bench  accuracy and speed beside peers; needs ISP_SIM_DATA, a folder of test data"

.venv/.run-stamp: $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; say which with: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . $(PLUGINS:%/pyproject.toml=--editable %)
	touch $@

.venv/.dev-stamp: .venv/.run-stamp
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,learn,export,tasks]'
	touch $@

demo: .venv/.run-stamp
	$(BIN)/isp-sim render --recipe recipes/quickstart.yaml --output out/demo --stages --overwrite
	$(BIN)/isp-sim preview recipes/quickstart.yaml --output out/demo-preview.png
	@echo
	@echo "pictures:       $(CURDIR)/out/demo"
	@echo "every stage:    $(CURDIR)/out/demo/stages"
	@echo "contact sheet:  $(CURDIR)/out/demo-preview.png"

.venv/.learn-stamp: .venv/.run-stamp
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[learn]'
	touch $@

demo-learn: .venv/.learn-stamp
	rm -rf out/learn_quickstart
	$(BIN)/dirlearn run recipes/learn_quickstart.yaml
	@echo
	@echo "report:  $(CURDIR)/out/learn_quickstart/report.html"

test: .venv/.dev-stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal isp_sim dirlearn tests $(PLUGINS:%/pyproject.toml=%/tests)

check: .venv/.dev-stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel-check: .venv/.dev-stamp
	$(BIN)/python benchmarks/install.py --audit

# a missed target is said and written down, and does not keep the others from being measured
bench: .venv/.dev-stamp
	@test -n "$(ISP_SIM_DATA)" || { echo "set ISP_SIM_DATA to the folder of test data"; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench,learn]'
	-$(BIN)/python benchmarks/libraw_parity.py --data $(ISP_SIM_DATA) --json benchmarks/results/libraw_parity.json
	-$(BIN)/python benchmarks/round_trip.py --data $(ISP_SIM_DATA) --json benchmarks/results/round_trip.json
	-$(BIN)/python benchmarks/jpeg.py --data $(ISP_SIM_DATA) --json benchmarks/results/jpeg.json
	-$(BIN)/python benchmarks/demosaic.py --data $(ISP_SIM_DATA) --json benchmarks/results/demosaic.json
	-$(BIN)/python benchmarks/speed.py --data $(ISP_SIM_DATA) --json benchmarks/results/speed.json
	-$(BIN)/python benchmarks/startup.py --json benchmarks/results/startup.json
	-$(BIN)/python benchmarks/calibration.py --json benchmarks/results/calibration.json
	-$(BIN)/python benchmarks/chart.py --data $(ISP_SIM_DATA) --json benchmarks/results/chart.json
	-$(BIN)/python benchmarks/noise_realism.py --data $(ISP_SIM_DATA) --json benchmarks/results/noise_realism.json
	-$(BIN)/python benchmarks/views.py --json benchmarks/results/views.json
	-$(BIN)/python benchmarks/mi_bench.py --json benchmarks/results/mi_bench.json --picture docs/pictures/mi_bench.png
	$(BIN)/python benchmarks/tables.py

clean:
	rm -rf .venv out build dist

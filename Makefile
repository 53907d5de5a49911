# Both targets do all the set-up; a second call installs nothing unless pyproject.toml has changed.
PYTHON ?= python3
RNNBENCH = .venv/bin/rnnbench
# pip leaves what it installs uncompiled: of 12,000 modules a fifth is ever imported. Python compiles these once, and
# keeps them, whatever the environment says: runs and tests start hundreds of processes.
INSTALL = -m pip install --quiet --disable-pip-version-check --no-compile
export PYTHONDONTWRITEBYTECODE =

.PHONY: bench test test-rest test-older docs lowest coverage mutants audit axe front-page example-history validate goals wheels release-check check

bench: .venv/.installed  ## Measure the quick suite and write its report; the last line is the report's path.
	$(RNNBENCH) run quick --out results
	$(RNNBENCH) report "$$(ls -td results/quick-*/ | head -n 1)"

# One thread each: torch's threads wait for each other by spinning, on cores that other tests need. One process more than
# cores: tests also wait.
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest --timeout 300 --timeout-method thread
PARALLEL = --numprocesses "$$(($$(nproc) + 1))"
QUICK = not slow and not needs and not alone
test: .venv/.installed  ## The tests that take seconds and need no other program, on all cores.
	$(PYTEST) $(PARALLEL) --dist worksteal -m "$(QUICK)"

test-rest: .venv/.installed  ## The others: programs, long tests (EXCEPT=a mark), and at the end what judges real times by itself.
	$(PYTEST) $(PARALLEL) --dist loadgroup --maxschedchunk 1 -m "(slow or needs) and not alone$(if $(EXCEPT), and not $(EXCEPT))" \
		$$(grep -rlE "mark\.(slow|needs)" tests --include=test_*.py)
	$(PYTEST) -m alone $$(grep -rlE "mark.(alone|cuda)|NEEDS_DEVICE" tests --include=test_*.py)

# A processor without AVX-512, whatever this one has: oneDNN, torch's kernels and torch.compile use no newer instructions.
OTHER_PROCESSOR = ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2
NUMBERS = tests/cells tests/kernels $(addprefix tests/speedup/test_,equal_layer.py ways.py) \
	$(addprefix tests/workloads/test_,compiled.py parity.py processor.py)
test-older: .venv/.installed  ## Tests of numbers once more, as on an older processor.
	$(OTHER_PROCESSOR) $(PYTEST) $(PARALLEL) --dist worksteal -m "$(QUICK)" $(NUMBERS)

docs: .venv/.docs  ## The pages, the Python API and the command line as a site, strictly; the last line is its first page.
	.venv/bin/python -m tests.rules.site .docs/pages
	.venv/bin/python -m mkdocs build --strict --quiet
	@echo .docs/site/index.html

.venv/.docs: .venv/.installed
	.venv/bin/python $(INSTALL) --editable '.[test,docs]'
	touch $@

lowest:  ## The test suite with the lowest versions that pyproject.toml allows; what they warn of is no fault of ours.
	$(PYTHON) -m venv .lowest
	.lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	.lowest/bin/uv pip install --quiet --python .lowest/bin/python --resolution lowest-direct --editable '.[test]'
	.lowest/bin/python -m pytest --numprocesses auto --dist loadgroup -W default -m "not alone"
	.lowest/bin/python -m pytest -W default -m alone

coverage: .venv/.validation  ## Which lines and branches the tests reach, also in the processes that they start.
	.venv/bin/python -m coverage erase
	PYTHONPATH=$(CURDIR)/tests/covered .venv/bin/python -m coverage run -m pytest --numprocesses auto --dist loadgroup -m "not alone"
	PYTHONPATH=$(CURDIR)/tests/covered .venv/bin/python -m coverage run -m pytest -m alone
	.venv/bin/python -m coverage combine --quiet
	.venv/bin/python -m coverage report

mutants: .venv/.validation  ## Which of some thousand mistakes, put into the statistics one by one, no test of theirs notices.
	.venv/bin/python -m mutmut run
	.venv/bin/python -m mutmut results

audit:  ## Does the advisory database know a weakness of what is installed? Asks over the network.
	$(PYTHON) -m venv .audit
	.audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit .
	.audit/bin/python -m pip_audit --local

front-page: .venv/.installed  ## Measure the reference runs anew, alone on a quiet machine, and put them into README.md and reports/.
	run="$$($(RNNBENCH) run quick --out results | tee /dev/stderr | tail -n 1)" && .venv/bin/python -m tests.rules.front_page "$$run"

example-history: .venv/.installed  ## Check 30 commits of mamba.py (REPOSITORY: its address, or a clone) and keep the page of their history.
	.venv/bin/python -m tests.rules.example_history $(or $(REPOSITORY),https://github.com/alxndrTL/mamba.py)

axe: .venv/.installed  ## Accessibility of every page in light and dark, by axe-core, which npm fetches.
	npm install --silent --no-save --no-package-lock --prefix .axe axe-core
	.venv/bin/python -m pytest tests/report/page/test_every_page.py -k axe

validate: .venv/.validation  ## Measure the error of the engine and of verdicts: some two hours on a quiet machine.
	.venv/bin/python -m tests.validation

goals: .venv/.installed  ## Do the simulated tables, at a quarter of their size, meet their goals? Some twenty minutes.
	.venv/bin/python -m tests.validation --goals --share 0.25

.venv/.validation: .venv/.installed
	.venv/bin/python $(INSTALL) --editable '.[test,validation]'
	touch $@

WHEEL = $(PYTHON) -m pip download --quiet --disable-pip-version-check --dest wheels --only-binary :all: \
	--python-version $(WHEELS_PYTHON) --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64
WHEELS_PYTHON ?= 3.12
wheels:  ## What a GPU machine without network lacks, as wheels for tests/gpu/acceptance.sh: all small, no torch.
	$(WHEEL) 'click>=8.3' torchinfo pydantic nvidia-ml-py
	@ls wheels

release-check:  ## The sdist and the wheel as a package index takes them; the wheel in an environment that has nothing else.
	rm -rf .release
	$(PYTHON) -m venv .release/tools
	.release/tools/bin/python -m pip install --quiet --disable-pip-version-check build twine check-wheel-contents
	.release/tools/bin/python -m build --quiet --outdir .release/dist .
	.release/tools/bin/twine check --strict .release/dist/*
	.release/tools/bin/check-wheel-contents .release/dist/*.whl
	$(PYTHON) -m venv .release/installed
	.release/installed/bin/python -m pip install --quiet --disable-pip-version-check .release/dist/*.whl
	mkdir .release/empty
	cd .release/empty && $(INSTALLED) --help > help.txt
	cd .release/empty && $(INSTALLED) list suites > suites.txt
	cd .release/empty && $(INSTALLED) list cases quick > cases.txt
	@! grep -n OWNER pyproject.toml || echo "pyproject.toml still says OWNER: put the account that has the repository there before the upload"
INSTALLED = env -u PYTHONPATH ../installed/bin/rnnbench

check: .venv/.installed  ## Style and types.
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	MYPY_NUM_WORKERS=$$(nproc) .venv/bin/mypy

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python $(INSTALL) --editable '.[test]'
	.venv/bin/python -c "$(IMPORTS)" & .venv/bin/python -c "$(OTHER_IMPORTS)" && wait $$!
	touch $@
# What most tests import is compiled here, on two cores. Else each process of a test run would compile all of it at once.
IMPORTS = import rnnbench.kernels.saved_tensors
OTHER_IMPORTS = import hypothesis, playwright.sync_api, rnnbench.report.reports

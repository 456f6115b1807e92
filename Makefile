# Every target works as the only command after a clone: it makes what it needs under build/ and no more.
# The lock files pin and hash every package, so a second run needs no network and starts at once.

GATEWAYS ?= 2
DURATION ?=
SIZE ?= 1
SEEDS ?= 10
JOBS ?= 6
ARGS ?=

BIN := build/venv/bin
PIP_FLAGS := --quiet --disable-pip-version-check --no-input
LOCK_FLAGS := --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header --quiet

.PHONY: agreement audit-campaign help setup demo demo-board test test-quick check bench bench-board cuts lives soak broker sim kills failing fuzz lock log clean

help: ## show these targets
	@echo "Parkgate. Variables in brackets are optional."
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1 \2/p' Makefile | \
	    while read -r name purpose; do printf '  make %-12s%s\n' "$$name" "$$purpose"; done

setup: build/venv.ready build/device_lib.ready ## only make build/venv, where the command parkgate is
	@echo ". build/venv/bin/activate    makes it the command of this terminal"

demo: build/venv.ready build/device_lib.ready ## run gateways, meters, broker and hub here [GATEWAYS=3 DURATION=60 ARGS=]
	@$(BIN)/parkgate demo --gateways $(GATEWAYS) $(if $(DURATION),--duration $(DURATION)) $(ARGS)

demo-board: build/venv-board.ready build/device_lib.ready ## the gateway on an emulated Pico W, live [PICO_IMAGE=FILE.uf2 DURATION=60]
	@build/venv-board/bin/python -m tests.board.demo $(if $(DURATION),--duration $(DURATION)) $(ARGS)

# Containers often tell Python to keep no compiled files. Here it must: the tests start programs a thousand times, and the
# workers find the tests compiled by the first collection instead of compiling them six times.
COMPILED := export PYTHONDONTWRITEBYTECODE=

test: build/venv.ready build/device_lib.ready build/venv-cwt.ready build/venv-dlt645.ready build/venv-esp.ready ## run all tests, on CPython and on MicroPython [ARGS='-k journal' JOBS=6]
	@$(COMPILED); $(BIN)/python -m pytest --collect-only -q $(ARGS) >/dev/null 2>&1; \
	    $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# The library, the formats and the rules of the code: what a change breaks first. All else needs the whole run.
QUICK := $(addprefix tests/host/test_,layering.py settings_docs.py cli.py tracebacks.py vectors_generated.py vectors_independent.py \
    vectors_spec.py decoders_agree.py hub_accept.py hub_verify.py hub_intake.py export.py json.py)

test-quick: build/venv.ready build/device_lib.ready ## run the tests for the loop of a developer, a minute [ARGS= JOBS=6]
	@$(COMPILED); $(BIN)/python -m pytest -n $(JOBS) --dist loadfile tests/core $(QUICK) $(ARGS)

check: build/venv.ready build/device_lib.ready build/stubs.ready ## lint with ruff, check types with pyright, firmware included
	@$(BIN)/ruff check . && style=0 || style=1; $(BIN)/python -m tests.check_types && exit $$style

bench: build/venv-bench.ready build/device_lib.ready ## measure against other encodings and libraries [SIZE=1 ARGS=]
	@build/venv-bench/bin/python -m tests.bench --size $(SIZE) $(ARGS)

bench-board: build/venv-board.ready build/board.ready build/device_lib.ready ## measure on emulated boards, PICO_IMAGE=FILE.uf2 [ARGS=]
	@build/venv-board/bin/python -m tests.board.bench $(ARGS)

cuts: build/venv.ready build/device_lib.ready ## cut the power at every flash operation, recover, compare [SIZE=1 ARGS=]
	@$(BIN)/python -m tests.cuts --size $(SIZE) $(ARGS)

lives: build/venv.ready ## live random lives of the journal, every fault mixed in [SIZE=1 ARGS=]
	@$(BIN)/python -m tests.oracle --lives $$((100 * $(SIZE))) $(ARGS)

soak: build/venv.ready ## read lines on which everything goes wrong, SIZE x 100,000 exchanges [SIZE=10 ARGS='--seed 1']
	@$(BIN)/python -m tests.host.test_line_soak --exchanges $(SIZE)00000 $(ARGS)

broker: build/venv.ready ## a broker that drops, replays, forges and holds back, SIZE x 100,000 actions [SIZE=1 ARGS='--seed 2']
	@$(BIN)/python -m tests.host.hostile_broker --actions $(SIZE)00000 $(ARGS)

sim: build/venv.ready build/device_lib.ready ## live whole systems in virtual time, one a seed, a day each [SEEDS=10 JOBS=3 ARGS='--seed 7']
	@$(BIN)/python -m tests.sim.whole --seeds $(SEEDS) --jobs $(JOBS) $(ARGS)

failing: build/venv.ready build/device_lib.ready ## let each function of the gateway fail in turn, at SIZE of its calls [SIZE=1 ARGS='--seed 2']
	@$(BIN)/python -m tests.sim.whole.failing --size $(SIZE) $(ARGS)

kills: build/venv.ready build/device_lib.ready ## kill brokers and hub at random instants under load, SIZE kills [SIZE=50 ARGS='--readings 1000000']
	@$(BIN)/python -m tests.host.kills --kills $(if $(filter file,$(origin SIZE)),50,$(SIZE)) $(ARGS)

agreement: build/venv.ready ## lives of sound and faulty meters: false alarms, faults that are found and named [SIZE=1, 100 is full]
	@$(BIN)/python -m tests.agreement --size $(SIZE) $(ARGS)

log: build/venv.ready ## flip bits of the log, have another library check its receipts [SIZE=100 is 10,000 of each]
	@PYTHONPATH=tests/host $(BIN)/python -m tests.host.test_log_foreign --receipts $(SIZE)00
	@PYTHONPATH=tests/host $(BIN)/python -m tests.host.test_log_check --flips $(SIZE)00
	@PYTHONPATH=tests/host $(BIN)/python -m tests.host.test_split_views --views $(SIZE)0 --honest $(SIZE)0000
	@PYTHONPATH=tests/host $(BIN)/python -m tests.host.test_log_accidents --accidents $(SIZE)00 --kills $(SIZE)0

audit-campaign: build/venv.ready ## honest and crooked archives before three verifiers [SIZE=10 is 1,000 of each]
	@$(BIN)/python -m tests.host.archive_campaign $(SIZE)00
	@PYTHONPATH=tests/host $(BIN)/python -m tests.host.auditor_campaign $(SIZE)00

fuzz: build/venv.ready build/device_lib.ready ## run the property tests on many more random cases [SIZE=1 ARGS=]
	@PARKGATE_FUZZ_SIZE=$(SIZE) $(BIN)/python -m pytest -m "hypothesis or fuzz" --hypothesis-profile=fuzz --timeout=0 $(ARGS)

# The newest versions that pyproject.toml allows, for every platform and Python at once, with all their hashes.
lock: build/venv-lock.ready ## write the lock files anew (needs the network)
	build/venv-lock/bin/uv pip compile $(LOCK_FLAGS) --upgrade pyproject.toml \
	    --group build --group test --group check -o requirements.lock
	build/venv-lock/bin/uv pip compile $(LOCK_FLAGS) --upgrade --group pyproject.toml:stubs \
	    -o tests/requirements-stubs.lock
	build/venv-lock/bin/uv pip compile $(LOCK_FLAGS) --upgrade --group pyproject.toml:bench \
	    -c requirements.lock -o tests/requirements-bench.lock
	build/venv-lock/bin/uv pip compile $(LOCK_FLAGS) --upgrade --group pyproject.toml:postgresql \
	    -c requirements.lock -o tests/requirements-postgresql.lock
	build/venv-lock/bin/uv pip compile $(LOCK_FLAGS) --upgrade --group pyproject.toml:parquet \
	    -c requirements.lock -o tests/requirements-parquet.lock
	build/venv-lock/bin/uv pip compile $(LOCK_FLAGS) --upgrade --group pyproject.toml:cwt \
	    -o tests/requirements-cwt.lock
	build/venv-lock/bin/uv pip compile $(LOCK_FLAGS) --upgrade --group pyproject.toml:dlt645 \
	    -o tests/requirements-dlt645.lock
	build/venv-lock/bin/uv pip compile $(LOCK_FLAGS) --upgrade --group pyproject.toml:esp \
	    -o tests/requirements-esp.lock
	build/venv-lock/bin/uv pip compile $(LOCK_FLAGS) --upgrade --group pyproject.toml:board \
	    -c requirements.lock -o tests/requirements-board.lock

clean: ## remove build/ (the demo's gateways, journals and database too) and all caches
	rm -rf build .pytest_cache .ruff_cache .hypothesis parkgate.egg-info lib/parkgate.egg-info
	find lib firmware boards host_tools tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# Environments. A stamp beside each tells that it is whole: an interrupted one is completed by the next run.
# PYTHON names an interpreter; without it the first fit one is taken.

build/venv.locked: requirements.lock tests/requirements-postgresql.lock tests/requirements-parquet.lock
	@$(call new_environment,build/venv)
	@echo "installing the pinned packages into build/venv (once, a minute or two)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) --require-hashes \
	    -r requirements.lock -r tests/requirements-postgresql.lock -r tests/requirements-parquet.lock
	@touch $@

build/venv.ready: build/venv.locked pyproject.toml host_tools/parkgate
	@$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	@touch $@

build/venv-bench.ready: requirements.lock tests/requirements-bench.lock pyproject.toml
	@$(call new_environment,build/venv-bench)
	@echo "installing the pinned packages into build/venv-bench (once, a minute or two)"
	@build/venv-bench/bin/python -m pip install $(PIP_FLAGS) --require-hashes \
	    -r requirements.lock -r tests/requirements-bench.lock
	@build/venv-bench/bin/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	@touch $@

build/venv-cwt.ready: tests/requirements-cwt.lock
	@$(call new_environment,build/venv-cwt)
	@build/venv-cwt/bin/python -m pip install $(PIP_FLAGS) --require-hashes -r tests/requirements-cwt.lock
	@touch $@

build/venv-dlt645.ready: tests/requirements-dlt645.lock
	@$(call new_environment,build/venv-dlt645)
	@build/venv-dlt645/bin/python -m pip install $(PIP_FLAGS) --require-hashes -r tests/requirements-dlt645.lock
	@touch $@

build/venv-esp.ready: tests/requirements-esp.lock
	@$(call new_environment,build/venv-esp)
	@build/venv-esp/bin/python -m pip install $(PIP_FLAGS) --require-hashes -r tests/requirements-esp.lock
	@touch $@

# Python 3.10 if there is one: for it rp2040py comes built without the stable ABI, and is several times faster.
build/venv-board.ready: requirements.lock tests/requirements-board.lock pyproject.toml
	@$(call new_environment,build/venv-board,python3.10)
	@echo "installing the pinned packages into build/venv-board (once, a minute or two)"
	@build/venv-board/bin/python -m pip install $(PIP_FLAGS) --require-hashes \
	    -r requirements.lock -r tests/requirements-board.lock
	@build/venv-board/bin/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	@touch $@

# The emulator of the plain Pico is a package of npm; without node its figures are left out.
build/board.ready: tests/board/emulator/package-lock.json
	@mkdir -p build/board && cp tests/board/emulator/package.json tests/board/emulator/package-lock.json build/board
	@command -v npm >/dev/null || echo "npm is not installed: the plain Pico cannot be emulated"
	@! command -v npm >/dev/null || npm ci --prefix build/board --silent --no-audit --no-fund
	@touch $@

build/venv-lock.ready:
	@$(call new_environment,build/venv-lock)
	@build/venv-lock/bin/python -m pip install $(PIP_FLAGS) uv
	@touch $@

build/stubs.ready: tests/requirements-stubs.lock build/venv.locked
	@rm -rf build/stubs
	@$(BIN)/python -m pip download $(PIP_FLAGS) --no-deps --require-hashes -d build/stubs -r tests/requirements-stubs.lock
	@cd build/stubs && for wheel in *.whl; do ../venv/bin/python -m zipfile -e $$wheel $${wheel%%-*}; done
	@touch $@

build/device_lib.ready: lib/third_party.lock build/venv.ready
	@$(BIN)/parkgate libraries
	@touch $@

define new_environment
mkdir -p build; \
for python in $(PYTHON) $(2) python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
    if $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; then break; fi; \
    python=; \
done; \
if [ -z "$$python" ]; then \
    echo "Parkgate needs Python 3.10 to 3.14; python3 here is: $$(python3 --version 2>&1 || true)." >&2; \
    echo "Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; \
fi; \
if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
    echo "$$python cannot make virtual environments: its modules venv and ensurepip are missing." >&2; \
    echo "On Debian and Ubuntu: apt-get install python3-venv. Or name another: make PYTHON=/path/to/python3.12" >&2; exit 1; \
fi; \
$$python -m venv $(if $(wildcard $@),,--clear) $(1)
endef

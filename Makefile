# cloudwalk_monitor: build, install, try and test. "make help" lists what there is.
#
#   PG_CONFIG   the server to build for          (default: Debian's PostgreSQL 15, else the one in PATH)
#   PROFILE     cargo's profile of the extension (default: release; the demo and the tests take "server")
#   DESTDIR     prefix of "make install", for packagers

# All of these are looked up when they are used: on a fresh machine "make deps" has to come first.
DEBIAN_PG_CONFIG = /usr/lib/postgresql/15/bin/pg_config
PG_CONFIG ?= $(shell test -x $(DEBIAN_PG_CONFIG) && echo $(DEBIAN_PG_CONFIG) || echo pg_config)
PROFILE ?= release
CARGO ?= cargo
INSTALL = /usr/bin/install

pg = $(shell '$(PG_CONFIG)' --$(1))
# "PostgreSQL 15.20 (Debian …)" and "PostgreSQL 18beta1" give 15 and 18.
PGVER = $(shell '$(PG_CONFIG)' --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')

NAME = cloudwalk_monitor
CONTROL = $(NAME).control
SCRIPTS = $(wildcard sql/$(NAME)--*.sql)
TARGET = $(abspath $(or $(CARGO_TARGET_DIR),target))
LIBRARY = $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/lib$(NAME).so
FEATURES = --no-default-features --features $(NAME)/pg$(PGVER)
BUILD = PGRX_PG_CONFIG_PATH='$(shell command -v $(PG_CONFIG))' $(CARGO)

# The tests and the demo run a copy of the server with the extension in it; the system's own is left alone.
TREE = $(TARGET)/server-tree
TREE_BIN = $(TREE)$(call pg,bindir)

.DEFAULT_GOAL = build
.PHONY: build install uninstall demo demo-stop psql test listeners check-data bench bench-quality bench-load bench-simulation fmt lint deps server-known server-tree clean help

##@ Using it

build: server-known ## build the extension (the default)
	$(BUILD) build --lib --package $(NAME) --profile $(PROFILE) $(FEATURES)
	@echo '$(PGVER)' > '$(LIBRARY).pgver'

# Builds only what was never built for this server's version: "sudo make install" need know nothing of Rust.
install: server-known ## copy the extension into the server of PG_CONFIG
	@test "$$(cat '$(LIBRARY).pgver' 2> /dev/null)" = '$(PGVER)' || $(MAKE) --no-print-directory build
	$(INSTALL) -d '$(DESTDIR)$(call pg,pkglibdir)' '$(DESTDIR)$(call pg,sharedir)/extension'
	$(INSTALL) -m 755 '$(LIBRARY)' '$(DESTDIR)$(call pg,pkglibdir)/$(NAME).so'
	$(INSTALL) -m 644 $(CONTROL) $(SCRIPTS) '$(DESTDIR)$(call pg,sharedir)/extension/'

uninstall: server-known ## remove it from there
	rm -f '$(DESTDIR)$(call pg,pkglibdir)/$(NAME).so'
	rm -f '$(DESTDIR)$(call pg,sharedir)/extension/$(CONTROL)'
	rm -f '$(DESTDIR)$(call pg,sharedir)/extension/$(NAME)--'*.sql

demo: deps ## watch a day with incidents in it (KEEP=1 leaves the server running)
	@$(MAKE) --no-print-directory server-tree
	TESTBED_BIN='$(TREE_BIN)' $(CARGO) run --quiet --package demo -- run $(if $(KEEP),--keep)

psql: ## open psql in the demo's server that was kept
	@$(CARGO) run --quiet --package demo -- psql

demo-stop: ## stop the demo's server that was kept
	@$(CARGO) run --quiet --package demo -- stop

##@ Working on it

test: TESTED = tests
test: deps listeners ## everything that must hold: format, lints, unit tests, tests on a server
	$(CARGO) fmt --all --check
	@$(MAKE) --no-print-directory lint server-tree
	TESTBED_BIN='$(TREE_BIN)' $(CARGO) run --quiet --package demo -- run
	$(CARGO) test --package bench --package chart --package detector --package sample --package demo
	TESTBED_BIN='$(TREE_BIN)' $(CARGO) test --package testbed
	TESTBED_BIN='$(TREE_BIN)' $(CARGO) run --quiet --package bench --bin bench-load -- --quick

# What the listeners of examples/ need, beside the sources: a venv, and node_modules.
listeners: $(TARGET)/listener-python/ready $(TARGET)/listener-node/ready ## install what the example listeners need

$(TARGET)/listener-python/ready: examples/listener_python/requirements.txt
	python3 -m venv '$(@D)'
	'$(@D)/bin/pip' install --quiet --requirement '$<'
	@touch '$@'

$(TARGET)/listener-node/ready: examples/listener_node/package.json
	@mkdir -p '$(@D)'
	cp '$<' '$(@D)/'
	npm install --prefix '$(@D)' --no-audit --no-fund --loglevel=error
	@touch '$@'

# The lints take the profile of the tests' library, so that both share one build of pgrx's bindings.
lint: PROFILE = server
lint: server-known ## clippy on everything, warnings denied
	$(BUILD) clippy --workspace --all-targets --profile $(PROFILE) $(FEATURES) -- --deny warnings

fmt: ## format all sources
	$(CARGO) fmt --all

deps: ## install what Debian has and this machine lacks
	@bash .ci/deps '$(PG_CONFIG)' '$(DEBIAN_PG_CONFIG)' $(TESTED)

# Before anything is expanded that asks PG_CONFIG: without an answer, paths would begin at the root.
server-known:
	@command -v '$(PG_CONFIG)' > /dev/null || { \
	    echo 'there is no $(PG_CONFIG): run "make deps", or say where it is: make PG_CONFIG=…' >&2; exit 1; }

# The server finds its own files relative to its program, so a copied program reads its libraries and scripts from
# the tree. They are links to the system's, but for ours. Programs are compared and copied only when they differ:
# clusters may be running from them.
server-tree: PROFILE = server
server-tree: build ## lay out a private server with the extension under target/
	@mkdir -p '$(TREE_BIN)' '$(TREE)$(call pg,pkglibdir)' '$(TREE)$(call pg,sharedir)/extension'
	@for file in '$(call pg,bindir)'/*; do \
	    copy="$(TREE_BIN)/$${file##*/}"; \
	    cmp -s "$$file" "$$copy" || cp --remove-destination "$$file" "$$copy"; \
	done
	@link() { for file in "$$1"/*; do case "$${file##*/}" in \
	        $(NAME)*|extension) ;; \
	        *) ln -sfn "$$file" "$$2/$${file##*/}" ;; \
	    esac; done; }; \
	link '$(call pg,pkglibdir)' '$(TREE)$(call pg,pkglibdir)'; \
	link '$(call pg,sharedir)' '$(TREE)$(call pg,sharedir)'; \
	link '$(call pg,sharedir)/extension' '$(TREE)$(call pg,sharedir)/extension'
	@rm -f '$(TREE)$(call pg,sharedir)/extension/$(NAME)'[.-]*
	@$(MAKE) --no-print-directory install PROFILE='$(PROFILE)' DESTDIR='$(TREE)'
	@echo '$(call pg,bindir)' > '$(TREE)/BINDIR'

# Needs recorded data that is not part of this project: DIR has data/, eval/ and reference/ in it.
DATA_FILES = data/challenge/transactions.csv data/challenge/transactions_1.csv data/challenge/labels.csv \
	eval/score_incidents.py reference/counts/golden_a.csv reference/values/golden/hourly.csv
# DIR=…/data is taken for the directory above it.
DATA = $(abspath $(if $(wildcard $(DIR)/../eval/.),$(DIR)/..,$(DIR)))
check-data: ## compare with recorded data in DIR=…
	@test -n '$(DIR)' || { echo 'check-data: say where the data is: make check-data DIR=…' >&2; exit 1; }
	@for file in $(DATA_FILES); do \
	    test -f "$(DATA)/$$file" || { echo "check-data: $(DATA)/$$file is missing" >&2; exit 1; }; \
	done
	$(CARGO) run --release --package detector --example check_golden -- '$(DATA)/reference'
	@$(MAKE) --no-print-directory server-tree
	TESTBED_BIN='$(TREE_BIN)' $(CARGO) run --package testbed --bin check_data -- '$(DATA)'

# The peers and the scorers are Python; the venv is made once.
BENCH_PYTHON = $(TARGET)/bench-python
bench-quality: ## score labelled files in DIR=… with peers beside it; writes bench/RESULTS.md
	@test -n '$(DIR)' || { echo 'bench-quality: say where the data is: make bench-quality DIR=…' >&2; exit 1; }
	@for part in data/nab/labels/combined_windows.json data/kpi eval/score_nab.py eval/score_events.py; do \
	    test -e "$(DATA)/$$part" || { echo "bench-quality: $(DATA)/$$part is missing" >&2; exit 1; }; \
	done
	$(CARGO) build --release --package bench
	@test -e '$(BENCH_PYTHON)/ready' || { python3 -m venv '$(BENCH_PYTHON)' \
	    && '$(BENCH_PYTHON)/bin/pip' install --quiet numpy river && touch '$(BENCH_PYTHON)/ready'; }
	'$(BENCH_PYTHON)/bin/python' bench/quality.py '$(DATA)' --bench '$(TARGET)/release/bench' \
	    --work '$(TARGET)/bench-quality'

# Apart from the checkout, and kept. Without it one measure is missing, which the table says.
LOAD_PYTHON ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/$(NAME)/bench-load
bench-load: ## what an insert costs, beside no trigger and what people write instead; writes bench/RESULTS.md
	@$(MAKE) --no-print-directory server-tree PROFILE=release
	@test -e '$(LOAD_PYTHON)/ready' || { python3 -m venv '$(LOAD_PYTHON)' \
	    && '$(LOAD_PYTHON)/bin/pip' install --quiet 'psycopg[binary]' pandas scikit-learn \
	    && touch '$(LOAD_PYTHON)/ready'; } \
	    || echo 'bench-load: THE PYTHON WAY IS SKIPPED: its packages could not be installed' >&2
	TESTBED_BIN='$(TREE_BIN)' $(CARGO) run --release --package bench --bin bench-load -- \
	    --out bench/RESULTS.md $(if $(ONLY),--only $(ONLY)) \
	    $$(test ! -e '$(LOAD_PYTHON)/ready' || echo --python '$(LOAD_PYTHON)/bin/python')

# Without arguments of its own: everything follows from the seed.
SEED = 1
REPETITIONS = 20
bench-simulation: ## simulate counts with peers beside; writes bench/SIMULATION.md (SEED=1 REPETITIONS=20)
	$(CARGO) build --release --package bench --bin simulation
	@{ printf '# Counts, simulated\n\nAt commit %s. Again: `make bench-simulation SEED=%s REPETITIONS=%s`.\n\n' \
	    "$$(git rev-parse --short=12 HEAD)" '$(SEED)' '$(REPETITIONS)'; cat bench/simulation.md; \
	    '$(TARGET)/release/simulation' --peers --seed '$(SEED)' --repetitions '$(REPETITIONS)'; } > '$(TARGET)/simulation.md'
	@mv '$(TARGET)/simulation.md' bench/SIMULATION.md

bench: ## what a reading costs
	$(CARGO) bench --package detector

clean: ## remove all that was built
	$(CARGO) clean

help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { print substr($$0, 5) } \
	    /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

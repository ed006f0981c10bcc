# make demo   two people on two hosts: pair, write, crash, answer (real daemons)
# make test   everything a change must pass: lint and all tests, which draw the same in every run
# make random fresh choices for all tests that draw, for minutes: RANDOM_SECONDS=600 make random
#             (one seed again, or one test: make random SEED=7 TESTS=tests/property)
# make fuzz   foreign bytes against every parser, for minutes: FUZZ_SECONDS=600 make fuzz
# make fuzz-ble   a million fragments and a thousand epochs of Bluetooth LE on virtual radios
# make soak   fresh seeds for the simulator's real nodes, for minutes: SOAK_SECONDS=600 make soak
# make month  thirty virtual days of a node nobody looks after (some minutes)
# make faults-tor  two daemons over Tor while it is killed, cut off, gone for two minutes (six minutes)
# make deb    a Debian package in dist/ (DEB_ARCH=arm64: for a Raspberry Pi, from any machine)
# make man    the manual pages, from the command line itself, in build/man
# make test-deb   the package on a bare Debian machine under its own systemd; root, two minutes
# make test-bluez   Bluetooth LE on a real bluetoothd in an emulated machine, for minutes; one scene
#             twenty times: make test-bluez BLUEZ="both-dial=20" (transports/ble/README.md)
# The first two make their own environment from requirements.lock; as root with apt they install what
# the system lacks, otherwise they say what is missing.

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
TRANSPORTS := $(notdir $(patsubst %/,%,$(wildcard transports/*/)))

.PHONY: demo test random lint bench fuzz fuzz-ble soak month test-bluez faults-tor clean system deb man test-deb

demo: .venv/ready system
	$(BIN)/python examples/demo.py

# In two halves, side by side: many tests wait for radios, relays and daemons more than they work.
BESIDE := transports examples tests/unit tests/simulation

test: export PYTHONHASHSEED := 0
test: lint system
	@log=$$(mktemp); \
	$(BIN)/python -m pytest $(BESIDE) > $$log 2>&1 & beside=$$!; \
	trap 'kill $$beside 2>/dev/null; rm -f $$log' EXIT; \
	$(BIN)/python -m pytest tests $(patsubst %,--ignore=%,$(filter tests/%,$(BESIDE))); here=$$?; \
	wait $$beside; there=$$?; cat $$log; \
	[ $$here = 0 ] && [ $$there = 0 ]

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy p2pnode bench deb $(wildcard examples/*.py examples/*/p2pnode_*.py transports/*/p2pnode_*)
	$(BIN)/lint-imports --no-cache
	@for one in $(TRANSPORTS); do \
	  $(BIN)/python tests/walls.py "$$one" || exit 1; done

RANDOM_SECONDS ?= 300
FUZZ_SECONDS ?= 300
SOAK_SECONDS ?= 300

random: .venv/ready system
	$(BIN)/python -m tests.fresh --seconds $(RANDOM_SECONDS) $(if $(SEED),--seed $(SEED)) -- $(TESTS)

fuzz: .venv/ready
	$(BIN)/python -m tests.fuzz.fuzz --seconds $(FUZZ_SECONDS) $(if $(SEED),--seed $(SEED)) \
	  $(if $(TARGET),--target $(TARGET))

fuzz-ble: .venv/ready
	BLE_FUZZ_FRAGMENTS=1000000 BLE_EPOCHS=1000 $(BIN)/python -m pytest -q --durations=2 \
	  transports/ble/tests/test_ble_fuzz.py transports/ble/tests/test_ble_epochs.py

soak: .venv/ready
	$(BIN)/python -m tests.simulation.soak --seconds $(SOAK_SECONDS) $(if $(SEED),--seed $(SEED))

month: .venv/ready
	$(BIN)/python -m tests.simulation.month --days 30 $(if $(SEED),--seed $(SEED))

faults-tor: .venv/ready system
	$(BIN)/python -m transports.tor.tests.tor_faults

DEB_ARCH ?= $(shell dpkg --print-architecture 2>/dev/null)

man: .venv/ready
	$(BIN)/python -m deb.manual build/man

deb: .venv/ready
	$(BIN)/python -m deb.build --arch $(DEB_ARCH)

test-deb: .venv/ready system
	@command -v debootstrap >/dev/null || apt-get -qq install -y debootstrap >/dev/null
	$(BIN)/python -m deb.build
	timeout 1200 unshare --mount --propagation private \
	  $(BIN)/python -m tests.deb.trial $(shell dpkg --print-architecture 2>/dev/null)

test-bluez: .venv/ready
	nice -n 5 $(BIN)/python -m transports.ble.tests.bluez $(BLUEZ)

bench: .venv/ready
	@$(BIN)/python -m bench

.venv/ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "p2pnode needs Python 3.11 or newer: apt install python3 python3-venv"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "p2pnode needs Python 3.11 or newer; this is $$("$(PYTHON)" --version)"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null; \
	  else echo "the venv module is missing: apt install python3-venv"; exit 1; fi; }
	"$(PYTHON)" -m venv --clear .venv
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

PROGRAMS := ip mcopy fsck.vfat tor obfs4proxy dbus-daemon systemd-analyze groff
PACKAGES := iproute2 mtools dosfstools tor obfs4proxy dbus-daemon systemd groff-base

system:
	@PATH="$$PATH:/usr/sbin:/sbin"; command -v $(PROGRAMS) | wc -l | grep -qx $(words $(PROGRAMS)) || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
	      --no-install-recommends $(PACKAGES) >/dev/null; \
	  else echo "note: some tests need: apt install $(PACKAGES)"; fi; }

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .hypothesis

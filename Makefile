# Kuryr carries Docker's network requests to OpenStack Neutron.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# Where cargo builds: CARGO_TARGET_DIR, or target.
TARGET := $(or $(CARGO_TARGET_DIR),target)
PROGRAM := $(abspath $(TARGET)/release/kuryr)

.PHONY: help build install plugin check test test-kernel fuzz e2e soak demo demo-cloud cloud cloud-down bench bench-standalone bench-plug bench-calls bench-client simulation clean

help: ## this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 14

build: ## the program, for use
	$(CARGO) build --release --locked -p kuryrd

install: build ## the program and its second name, to PREFIX (/usr/local)
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/kuryr
	ln -sf kuryr $(DESTDIR)$(PREFIX)/bin/kuryr-server
	ln -sf kuryr $(DESTDIR)$(PREFIX)/bin/kuryr-status

plugin: build ## the program as a plugin that Docker manages, for swarm mode; NAME (kuryr)
	@tools/plugin $(PROGRAM) $(NAME)

soak: ## random containers, killed and stopped programs, full disks for MINUTES (20), then an audit; SEED repeats one (as root)
	@KURYR_SOAK_SECONDS=$$(($(or $(MINUTES),20) * 60)) $(if $(SEED),KURYR_SOAK_SEED=$(SEED)) tools/test lab e2e -- soak:: --nocapture

demo: ## two containers on Neutron's ways, on this machine alone, without a cloud (as root)
	@tools/demo

demo-cloud: ## two containers on a real Neutron, all on this machine (as root)
	@tools/demo-cloud

check: ## the quick loop: all that needs no root and nothing installed
	@tools/test static quick

test: ## everything, on real parts (as root)
	@tools/test all

test-kernel: ## the ways of plugging on Debian's own kernel, in an emulated machine (as root)
	@tools/test kernel

fuzz: ## what crosses a border, each for SECONDS (600); TARGETS="name name" picks some
	@tools/fuzz $(or $(SECONDS),600) $(TARGETS)

e2e: ## the end-to-end tests alone; TESTS="name name" picks some
	@tools/test lab e2e -- $(TESTS)

cloud: ## the lab: a real Keystone, Neutron, OVN, Open vSwitch and Docker
	@lab/lab up

cloud-down: ## removes the lab
	@lab/lab down

bench: ## docker run through Kuryr, the Python daemon and Docker's bridge, in turns; then without a cloud
	@tools/bench
	@tools/bench-standalone

bench-plug: ## plugging and unplugging alone, into a real Open vSwitch; fails above 15 ms of our own time
	@$(CARGO) bench --locked -p kuryr-vif --bench plug

bench-calls: ## what Docker's calls cost of our own time: one after the other, and 500 a second; fails above 0.3 ms p99 of our own
	@$(CARGO) bench --locked -p kuryr-libnetwork

bench-client: ## what the client for Neutron costs of our own time, with criterion
	@$(CARGO) bench --locked -p neutron-client

simulation: ## a thousand hosts with Kuryr, in virtual time; its table and plot go into docs/
	@$(CARGO) bench --locked -p kuryr-core --bench simulation
	@tools/plot simulation docs/simulation.svg <$(TARGET)/tmp/simulation.csv

bench-standalone: ## starts and throughput without a cloud against Docker's bridge, in turns
	@tools/bench-standalone

clean: ## what was built
	$(CARGO) clean

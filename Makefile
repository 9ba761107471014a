# Kuryr carries Docker's network requests to OpenStack Neutron.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
# Where cargo builds: CARGO_TARGET_DIR, or target.
TARGET := $(or $(CARGO_TARGET_DIR),target)
PROGRAM := $(abspath $(TARGET)/release/kuryr)

.PHONY: help build install check test e2e demo cloud cloud-down bench clean

help: ## this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 14

build: ## the program, for use
	$(CARGO) build --release --locked -p kuryrd

install: build ## the program and its second name, to PREFIX (/usr/local)
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/kuryr
	ln -sf kuryr $(DESTDIR)$(PREFIX)/bin/kuryr-server

demo: ## two containers on a real Neutron, all on this machine (as root)
	@tools/demo

check: ## the quick loop: all that needs no root and nothing installed
	@tools/test static quick

test: ## everything, on real parts (as root)
	@tools/test all

e2e: ## the end-to-end tests alone; TESTS="name name" picks some
	@tools/test lab e2e -- $(TESTS)

cloud: ## the lab: a real Keystone, Neutron, OVN, Open vSwitch and Docker
	@lab/lab up

cloud-down: ## removes the lab
	@lab/lab down

bench: ## docker run through Kuryr, the Python daemon and Docker's bridge, in turns
	@tools/bench

clean: ## what was built
	$(CARGO) clean

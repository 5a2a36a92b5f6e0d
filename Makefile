# SPDX-License-Identifier: GPL-3.0-or-later
# make turns every failure into its own exit code 2. The harness's code (0 good, 1 regression, 2 usage, 3 infrastructure,
# 4 invalid measurement, 130 interrupted) is printed by make as "Error N" and written to results/<run-id>/exit_code.

.DEFAULT_GOAL := help
.PHONY: help nightly test test-long lint format bench doctor clean venv venv-dev lock

export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON := .venv/bin/python

help:  ## what can be asked for (the default)
	@echo "make TARGET [ARGS='…']"
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
	@echo "NODE_COUNT=100 make nightly              another size"
	@echo "make nightly ARGS='-e x=y --tags a,b'    whatever ansible-playbook takes"

nightly: venv  ## build or find every tool, measure, judge, report, tear down
	$(PYTHON) -m harness run nightly $(ARGS)

doctor: venv  ## what this machine lacks, and the command that mends it
	$(PYTHON) -m harness doctor $(ARGS)

clean: venv  ## end what interrupted runs left behind; results and cached tools stay
	$(PYTHON) -m harness clean $(ARGS)
	rm -rf .cache .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis

test: venv-dev  ## lint, unit, contract, integration on a real control plane, Molecule
	$(PYTHON) tests/run.py lint tools unit contract integration molecule $(ARGS)

test-long: venv-dev  ## the tests that take many minutes
	$(PYTHON) tests/run.py tools long $(ARGS)

bench: venv-dev  ## speed, as ratios measured in one run
	$(PYTHON) tests/run.py tools bench $(ARGS)

lint: venv-dev  ## ruff, mypy, yamllint, ansible-lint
	$(PYTHON) tests/run.py lint $(ARGS)

format: venv-dev  ## let ruff put the Python files in order
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

venv:
	@tools/venv requirements.txt

venv-dev: venv
	@tools/venv requirements-dev.txt

# The lock is made with the oldest Python that is supported.
PIP_COMPILE := CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-annotate --no-emit-index-url --no-emit-trusted-host --no-emit-find-links $(ARGS)
lock: venv-dev  ## renew requirements*.txt (ARGS=--upgrade for newer versions)
	$(PIP_COMPILE) -o requirements.txt requirements.in
	$(PIP_COMPILE) -c requirements.txt -o requirements-dev.txt requirements.in requirements-dev.in
	$(PIP_COMPILE) -c requirements-dev.txt -o requirements-cluster.txt requirements.in requirements-cluster.in
	$(PIP_COMPILE) -c requirements-dev.txt -o requirements-gcp.txt requirements.in requirements-gcp.in

#!/usr/bin/env bash
# Lints, checks types and tests.
source "$(dirname "$0")/environment.sh" development
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/python -m pytest

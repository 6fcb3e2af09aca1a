#!/usr/bin/env bash
# Lints, checks types and tests.
source "$(dirname "$0")/environment.sh" development
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
# A browser for the tests of the pages; without one they are skipped.
names=("${CHROMIUM:-chromium}" chromium-browser google-chrome)
if [[ -z "$(type -P "${names[@]}")" ]]; then
  timeout 300 .venv/bin/playwright install --only-shell chromium ||
    echo "no Chromium could be installed: its tests are skipped" >&2
fi
.venv/bin/python -m pytest

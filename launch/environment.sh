# Makes .venv from requirements.txt, once; sourced by the other scripts.
# PYTHON chooses the interpreter, 3.11 or newer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! cmp -s requirements.txt .venv/installed.txt; then
  python="${PYTHON:-python3}"
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: $("$python" --version) is too old; set PYTHON to 3.11 or newer" >&2
    exit 2
  fi
  "$python" -m venv .venv
  .venv/bin/pip install --quiet --requirement requirements.txt
  cp requirements.txt .venv/installed.txt
fi

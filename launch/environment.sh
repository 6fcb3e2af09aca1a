# shellcheck shell=bash
# Makes .venv with the packages that a script needs, once:
#   source launch/environment.sh              requirements.txt: to run
#   source launch/environment.sh development  all requirements*.txt: to test
# PYTHON chooses the interpreter, 3.11 or newer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
needed=(requirements.txt)
if [[ "${1:-}" == development ]]; then needed=(requirements*.txt); fi
for file in "${needed[@]}"; do
  # What was installed is kept beside it.
  if cmp -s "$file" ".venv/installed/$file"; then continue; fi
  python="${PYTHON:-python3}"
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: $("$python" --version) is too old; set PYTHON to 3.11 or newer" >&2
    exit 2
  fi
  "$python" -m venv .venv
  .venv/bin/pip install --quiet "${needed[@]/#/--requirement=}"
  mkdir -p .venv/installed
  cp "${needed[@]}" .venv/installed
  break
done

# Sourced: apart NAME REQUIREMENT... makes a virtual environment of those packages, apart from the project's, and prints
# its path. What is there already of the same versions is used again at once.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

apart() {
  local directory=${LLMSERVICE_CACHE:-$HOME/.cache/llmservice}/venvs name=$1 venv uv=$root/.venv/bin/uv
  shift
  venv=$directory/$name
  mkdir -p "$directory"
  exec 9>"$directory/$name.lock"
  flock 9
  if [[ $(cat "$venv/.key" 2>/dev/null) != "$*" ]]; then
    rm -rf "$venv"
    "$uv" venv -q "$venv" >&2
    UV_COMPILE_BYTECODE=1 "$uv" pip install -q --python "$venv/bin/python" "$@" >&2
    echo "$*" >"$venv/.key"
  fi
  echo "$venv"
}

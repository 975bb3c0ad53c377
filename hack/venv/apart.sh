# Sourced: apart NAME makes a virtual environment of the packages of requirements-NAME.txt (written by hack/lock), apart
# from the project's, and prints its path. What is there already of the same versions is used again at once.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

apart() {
  local directory=${LLMSERVICE_CACHE:-$HOME/.cache/llmservice}/venvs name=$1 uv=$root/.venv/bin/uv
  local venv=$directory/$name requirements=$root/hack/venv/requirements-$name.txt key
  key=$(sha256sum <"$requirements" | cut -c1-16)
  mkdir -p "$directory"
  exec 9>"$directory/$name.lock"
  flock 9
  if [[ $(cat "$venv/.key" 2>/dev/null) != "$key" ]]; then
    rm -rf "$venv"
    "$uv" venv -q "$venv" >&2
    UV_COMPILE_BYTECODE=1 "$uv" pip install -q --python "$venv/bin/python" --require-hashes --only-binary :all: -r "$requirements" >&2
    echo "$key" >"$venv/.key"
  fi
  echo "$venv"
}

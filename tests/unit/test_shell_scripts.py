"""Shell scripts run with pipefail, so no pipeline may end in a reader that stops before its input ends.

Such a reader (``grep -q``, ``head``) closes the pipe. If the writer is not done by then, SIGPIPE ends it with status
141, which pipefail makes the status of the pipeline: the command fails in a few runs of a hundred.
"""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EARLY_READER = re.compile(
    r"""(?<!\|)\|&?\s*(?:\w+=\S*\s+|command\s+|xargs\s+)*(?:
        (?:[efz]?grep|rg)\s(?:[^|;]*?\s)?(?:-[A-Za-z]*[qlLm]\w*|--quiet|--silent|--max-count\S*|--files-with\S*)(?=[\s=)"'`]|$)
        | head\b
        | sed\s[^|]*?(?:\d|\$|/|\{|;|'|"|\s)[qQ](?=[\s;}'"]|$)
        | (?:[gm]?awk|perl)\s[^|]*?\bexit\b
        | (?:IFS=\S*\s+)?read\b
    )""",
    re.VERBOSE,
)


def scripts() -> list[Path]:
    """Tracked files that a shell runs: by their first line or their name."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [ROOT / name for name in tracked.split("\0") if name]
    return [path for path in found if path.is_file() and _is_shell(path)]


def _is_shell(path: Path) -> bool:
    if path.suffix == ".sh" or path.name in {"Makefile", "Dockerfile"}:
        return True
    with path.open("rb") as file:
        return re.match(rb"#!.*\b(?:ba|da)?sh\b", file.readline(200)) is not None


def early_readers(text: str) -> list[str]:
    """Pipelines of a script that end in a reader which may stop early. Continued lines count as one."""
    lines = re.sub(r"\\\n\s*|(?<=\|)\s*\n\s*", " ", text).splitlines()
    code = (line.strip() for line in lines if not line.lstrip().startswith("#"))
    return [line for line in code if EARLY_READER.search(line)]


@pytest.mark.parametrize("path", scripts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pipeline_ends_in_a_reader_that_stops_early(path: Path) -> None:
    found = early_readers(path.read_text())
    assert not found, "let the reader read to the end, or match a variable: case $(command) in *word*) ..."


def test_scripts_of_each_place_are_looked_at() -> None:
    names = {str(path.relative_to(ROOT)) for path in scripts()}
    assert {
        "Makefile",
        "Dockerfile",
        ".ci/run",
        "hack/install",
        "hack/venv/vllm-cpu",
        "runtime/install-engine",
    } <= names
    assert {"hack/cluster/lib/network.sh", "manifests/render.sh", "tests/support/earlier_images"} <= names


@pytest.mark.parametrize(
    "line",
    [
        "if ! ldconfig -p | grep -q libnuma.so.1; then",
        "ls | grep -iq a && true",
        "ls | grep --quiet a",
        "ls | grep -m1 a",
        "ls | LC_ALL=C grep -e a -q",
        "ls | xargs grep -l a",
        "ls 2>/dev/null | head -n 1",
        "ls |head",
        "ls \\\n  | head -1",
        "ls |\n  head -1",
        "ls | sed 1q",
        "ls | sed -n '/a/{p;q}'",
        "ls | sed -n '3{p;q;}'",
        "ls | awk '/a/ {print; exit}'",
        "ls | read -r first",
        "ls |& grep -q a",
    ],
)
def test_an_early_reader_is_found(line: str) -> None:
    assert early_readers(line)


@pytest.mark.parametrize(
    "line",
    [
        "grep -q a file || head -n 1 file",
        "# ls | head",
        "ls | grep -v query | sort",
        "ls | grep -oE '/[^ ]+'",
        "ls | sed -n 's/a/b/p'",
        "ls | sed -e 's|query|q-x|'",
        "ls | awk '{print $2}'",
        "awk '$1 == \"a\" {print $2; exit}' file",
        "ls | while read -r name; do echo $name; done",
        "ls | cut -c1-16",
        "ls | grep -cx True",
    ],
)
def test_a_reader_that_reads_everything_is_not(line: str) -> None:
    assert not early_readers(line)

"""`kubectl_complete-llm`: the program that kubectl runs to complete `kubectl llm`.

Its arguments are the words behind `llm`, the one that is being typed last. It prints a completion a line, behind it a
tab and what is to be said of it, and at the end a directive: whether the shell may offer files.
"""

from __future__ import annotations

import io
import os
import re
import sys

from llmservice_operator.cli.commands import COMMANDS
from llmservice_operator.cli.completion import PROGRAM_FILE, complete
from llmservice_operator.cli.completion.names import Files

FILES, NO_FILES = ":0", ":4"
_PLAIN = re.compile(r"[\w@%+=:,./-]*", re.ASCII)


def main() -> int:
    """Run it; returns 0 whatever happens."""
    sys.stdout.write("".join(f"{line}\n" for line in completions(sys.argv[1:])))
    return 0


def completions(words: list[str]) -> list[str]:
    """The lines to print."""
    typed = words[-1] if words else ""
    known = {command.name for command in COMMANDS}
    if not all(_PLAIN.fullmatch(word) for word in words) or (words[1:] and words[0] not in known):
        return [NO_FILES]
    line = " ".join([PROGRAM_FILE, *words]) if words else f"{PROGRAM_FILE} "
    os.environ |= {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_DFS": "\t",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    output = io.StringIO()
    Files.left_to_shell, Files.asked = True, False
    complete([word for word in words[:-1] if word] + [typed], output)
    option = typed.partition("=")[0] + "=" if typed.startswith("-") and "=" in typed else ""
    found = [each.rstrip().removeprefix(option) for each in output.getvalue().split("\n") if each.strip()]
    return [*found, FILES if Files.asked else NO_FILES]

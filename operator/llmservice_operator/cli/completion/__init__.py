"""`kubectl llm completion`, and shell completion of commands, options, and names from the cluster.

Errors are silent: a completion that finds nothing prints nothing, and takes at most one second.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from typing import TextIO

from llmservice_operator.cli.system import System
from llmservice_operator.cli.terminal import give_screen

PROGRAM_FILE = "kubectl-llm"
SHELLS = ("bash", "zsh", "fish")


def define(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.set_defaults(run=show)
    parser.add_argument("shell", choices=SHELLS, help="shell that runs the script")


def show(options: argparse.Namespace, outside: System) -> None:
    """Print the shell's script."""
    from argcomplete.shell_integration import shellcode

    give_screen(shellcode([PROGRAM_FILE], use_defaults=False, shell=options.shell).strip())


def asked() -> bool:
    """Whether a shell with that script has started this process."""
    return "_ARGCOMPLETE" in os.environ


def answer() -> None:
    """Answer the shell, and end the process."""
    try:
        words = shlex.split(os.environ.get("COMP_LINE", ""))
    except ValueError:
        words = os.environ["COMP_LINE"].split()
    complete(words[1:])


def complete(words: Sequence[str], output: TextIO | None = None) -> None:
    """Write completions as argcomplete's variables in the environment want them, for a line that begins with these
    words: to ``output``, or to the file descriptor that the script reads, and then the process ends."""
    from argcomplete import autocomplete
    from argcomplete.completers import SuppressCompleter

    from llmservice_operator.cli.commands import parser_of

    parser = parser_of(words)
    if output is None:
        autocomplete(parser, always_complete_options=False, default_completer=SuppressCompleter())
    else:
        autocomplete(
            parser,
            always_complete_options=False,
            default_completer=SuppressCompleter(),
            append_space=False,
            output_stream=output,
            exit_method=lambda status: None,
        )

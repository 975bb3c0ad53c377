"""Names that exist, for a shell to offer: asked of kubectl, which knows the way and the login, and not for long."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from llmservice_operator.api import GROUP, PLURAL, VERSION

SECONDS = 0.7
"""How long kubectl may take: with this process' own start there is an answer within a second, or none."""

_SERVICES = '{range .items[*]}{.metadata.name}{"\\t"}{.status.conditions[?(@.type=="Ready")].reason}{"\\n"}{end}'
_NAMES = '{range .items[*]}{.metadata.name}{"\\n"}{end}'


class Files:
    """Completes paths. A program that lets the shell do that itself sets ``left_to_shell``; ``asked`` tells it when."""

    left_to_shell = False
    asked = False

    def __call__(self, prefix: str, **more: Any) -> Iterable[str]:
        """Paths that begin so."""
        if Files.left_to_shell:
            Files.asked = True
            return ()
        from argcomplete.completers import FilesCompleter

        return list(FilesCompleter()(prefix, **more))


def services(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Mapping[str, str]:
    """Services of the namespace that is meant, each with the reason of its Ready."""
    namespace = getattr(parsed_args, "namespace", None)
    inside = ("-n", namespace) if namespace else ()
    return _told(parsed_args, "get", f"{PLURAL}.{VERSION}.{GROUP}", *inside, "-o", f"jsonpath={_SERVICES}")


def namespaces(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Mapping[str, str]:
    """Namespaces of the cluster."""
    return _told(parsed_args, "get", "namespaces", "-o", f"jsonpath={_NAMES}")


def contexts(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Mapping[str, str]:
    """Contexts of the kubeconfig."""
    return _told(
        argparse.Namespace(kubeconfig=getattr(parsed_args, "kubeconfig", None)), "config", "get-contexts", "-oname"
    )


def _told(options: argparse.Namespace, *command: str) -> Mapping[str, str]:
    """Lines that kubectl prints: a name, and after a tab what is to be said of it."""
    import subprocess

    given = {"--context": getattr(options, "context", None), "--kubeconfig": getattr(options, "kubeconfig", None)}
    chosen = [f"{option}={value}" for option, value in given.items() if value]
    try:
        done = subprocess.run(
            ["kubectl", *command, *chosen, f"--request-timeout={SECONDS}s"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = done.stdout.decode(errors="replace").splitlines() if done.returncode == 0 else []
    found = (line.partition("\t") for line in lines)
    return {name: summary for name, _, summary in found if name}

"""The person's kubeconfig, read as kubectl reads it: of several files the first one that says a thing wins."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import yaml

from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Failure

_DEFAULT = "~/.kube/config"


def connect(options: argparse.Namespace, connections: int | None = None) -> tuple[KubernetesClient, str]:
    """The cluster that the options mean, and the namespace. ``connections``: how many are kept open for reuse; None for
    the client's default. Raises Failure."""
    from kubernetes import client, config

    where = _where(options.kubeconfig)
    try:
        current, contexts = _read(where)
        name = options.context or current
        _check(where, name, contexts)
        configuration = client.Configuration()
        config.load_kube_config(where, name, configuration, persist_config=False)
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Failure(f"the kubeconfig {where} can't be used: {' '.join(str(error).split())[:300]}") from None
    if connections is not None:
        configuration.connection_pool_maxsize = connections
    return KubernetesClient(configuration), options.namespace or str(contexts[name].get("namespace") or "default")


def _where(given: str | None) -> str:
    where = given or os.environ.get("KUBECONFIG") or _DEFAULT
    if not any(path.is_file() for path in _files(where)):
        raise Failure(f"there is no kubeconfig at {where}: set --kubeconfig or the variable KUBECONFIG")
    return where


def _files(where: str) -> list[Path]:
    return [Path(each).expanduser() for each in where.split(os.pathsep) if each]


def _read(where: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """The current context's name, and all contexts."""
    current, contexts = "", dict[str, dict[str, Any]]()
    for path in _files(where):
        data = (yaml.safe_load(path.read_text()) or {}) if path.is_file() else {}
        current = current or data.get("current-context") or ""
        for each in data.get("contexts") or ():
            contexts.setdefault(str(each["name"]), each.get("context") or {})
    return current, contexts


def _check(where: str, name: str, contexts: dict[str, dict[str, Any]]) -> None:
    if name in contexts:
        return
    known = f"it has {', '.join(sorted(contexts))}" if contexts else "it has none"
    if name:
        raise Failure(f"the kubeconfig {where} has no context {name}; {known}")
    raise Failure(f"the kubeconfig {where} has no current context: choose one by --context; {known}")

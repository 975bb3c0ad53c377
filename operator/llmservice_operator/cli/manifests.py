"""The LLMServices of manifests: YAML or JSON, one document or many, from files, directories and stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from llmservice_operator.api import CLUSTER_MODEL_KIND, GROUP, KIND, MODEL_KIND, VERSION
from llmservice_operator.cli.failure import Failure

STDIN = "-"
_SUFFIXES = (".yaml", ".yml", ".json")

Object = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """As the API server's clients read YAML: what looks like a date is text."""


_Loader.yaml_implicit_resolvers = {
    sign: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


_CATALOGUE = (MODEL_KIND, CLUSTER_MODEL_KIND)


def services(paths: Sequence[str], *, may_be_none: bool = False) -> list[Object]:
    """The LLMServices in their order. Raises Failure if there is none, unless ``may_be_none``."""
    return services_of(objects(paths), paths, may_be_none=may_be_none)


def objects(paths: Sequence[str]) -> list[Object]:
    """All objects in their order. Raises Failure."""
    return [each for path in paths for text in _texts(path) for each in _read(path, text)]


def services_of(found: Sequence[Object], paths: Sequence[str], *, may_be_none: bool = False) -> list[Object]:
    """The LLMServices of the objects in ``paths``. Raises Failure if there is none, unless ``may_be_none``."""
    ours = [each for each in found if each.get("kind") == KIND and _group(each) == GROUP]
    if not ours and not may_be_none:
        what = f"{len(found)} object{'' if len(found) == 1 else 's'}, and none" if found else "nothing, so none"
        raise Failure(f"{', '.join(paths)} holds {what} is an {KIND} of {GROUP}")
    for each in ours:
        _check(each)
    return ours


def models_of(found: Sequence[Object], namespace: str) -> list[Object]:
    """The models of the catalogue of these objects. Those without a namespace are in ``namespace``."""
    ours = [each for each in found if each.get("kind") in _CATALOGUE and _group(each) == GROUP]
    named = [each for each in ours if isinstance(each.get("metadata"), dict) and "name" in each["metadata"]]
    return [{**each, "metadata": {"namespace": namespace, **each["metadata"]}} for each in named]


def missing(paths: Sequence[str]) -> list[str]:
    """The files and directories that do not exist."""
    return [path for path in paths if path != STDIN and not Path(path).exists()]


def _check(service: Object) -> None:
    meta = service.get("metadata")
    name = meta.get("name") if isinstance(meta, dict) else None
    if not isinstance(name, str) or not name:
        raise Failure(f"an {KIND} of the manifest has no metadata.name: set it")
    if service.get("apiVersion") != f"{GROUP}/{VERSION}":
        raise Failure(
            f"{KIND} {name} has apiVersion {service.get('apiVersion')}: this version of kubectl-llm supports "
            f"{GROUP}/{VERSION}"
        )
    if not isinstance(service.get("spec"), dict):
        raise Failure(f"{KIND} {name} has no spec")


def _group(each: Mapping[str, Any]) -> str:
    return str(each.get("apiVersion", "")).partition("/")[0]


def _texts(path: str) -> Iterator[str]:
    try:
        if path == STDIN:
            yield sys.stdin.read()
        elif Path(path).is_dir():
            for each in sorted(Path(path).iterdir()):
                if each.suffix in _SUFFIXES:
                    yield each.read_text()
        else:
            yield Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path} can't be read: {error}") from None


def _read(path: str, text: str) -> Iterator[Object]:
    try:
        documents = list(yaml.load_all(text, _Loader))
    except yaml.YAMLError as error:
        raise Failure(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    for each in documents:
        if isinstance(each, dict):
            yield from _flat(each)


def _flat(each: Object) -> Iterator[Object]:
    """The object, or the items of a list."""
    items = each.get("items")
    if str(each.get("kind", "")).endswith("List") and isinstance(items, list):
        for item in items:
            if isinstance(item, dict):
                yield from _flat(item)
    else:
        yield each

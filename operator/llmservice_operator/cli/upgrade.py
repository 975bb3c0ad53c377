"""`kubectl llm upgrade-check` and `kubectl llm upgrade`: changes of services that require approval.

The operator restarts no pod for a change that is not part of the spec until a user approves exactly this change.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llmservice_operator.cli import kubeconfig
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.object_ref import ObjectRef
from llmservice_operator.cli.parsing import PROGRAM, add_service, make_command
from llmservice_operator.cli.system import System
from llmservice_operator.cli.terminal import give, one_line, say
from llmservice_operator.resources import names
from llmservice_operator.resources.kinds import LLMSERVICE

if TYPE_CHECKING:
    from llmservice_operator.cli import wire


def define_check(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    make_command(parser, check, None)
    add_service(parser, "one service; absent: all", nargs="?")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="services of all namespaces")
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="output format (default: %(default)s)"
    )


def define(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    make_command(parser, agree)


def check(options: argparse.Namespace, outside: System) -> None:
    """Print the changes that require approval, by service. Raises Failure."""
    cluster, namespace = kubeconfig.connect(options)
    if options.service:
        found = [cluster.get(ObjectRef.of(LLMSERVICE, namespace, options.service))]
    else:
        found = cluster.list(
            LLMSERVICE.root, LLMSERVICE.kind, LLMSERVICE.plural, None if options.all_namespaces else namespace
        )
    waiting = [each for each in found if _offer(each)]
    if options.output == "json":
        from llmservice_operator.cli import wire

        give(wire.text(wire.UpgradeCheck(items=[_item(each) for each in waiting])))
    elif waiting:
        give("\n\n".join(_told(each) for each in waiting))
    if not waiting:
        it = "it" if len(found) == 1 else "them"
        say(f"No upgrade requires approval: {_count(len(found))} as the installed operator would run {it}.")


def agree(options: argparse.Namespace, outside: System) -> None:
    """Approve the pending upgrade of one service. Raises Failure."""
    cluster, namespace = kubeconfig.connect(options)
    thing = ObjectRef.of(LLMSERVICE, namespace, options.service)
    offer = _offer(cluster.get(thing))
    if not offer:
        raise Failure(f"no upgrade of the {thing} requires approval: it runs as the installed operator would run it")
    cluster.merge(thing, {"metadata": {"annotations": {names.UPGRADE_ANNOTATION: offer["digest"]}}})
    say(
        f"Approved. The replicas of the {thing} are replaced according to spec.rollout. To wait: "
        f"kubectl wait -n {namespace} llms/{options.service} --for condition=RolledOut --timeout 60m"
    )


def _told(found: Mapping[str, Any]) -> str:
    meta, offer = found["metadata"], _offer(found)
    replicas = (found.get("spec") or {}).get("replicas", 0)
    version = one_line(str(offer["version"]))
    head = f"{meta['namespace']}/{meta['name']}: version {version} would replace {_count(replicas, 'replica')}"
    changes = offer.get("changes") or ("fields that the operator no longer sets",)
    lines = [f"  {one_line(str(line))}" for line in changes]
    return "\n".join([head, *lines, f"  to approve: {PROGRAM} upgrade {meta['name']} -n {meta['namespace']}"])


def _item(found: Mapping[str, Any]) -> wire.UpgradeItem:
    from llmservice_operator.cli import wire

    meta, offer = found["metadata"], _offer(found)
    return wire.UpgradeItem(
        namespace=meta["namespace"],
        name=meta["name"],
        digest=str(offer.get("digest") or ""),
        version=str(offer.get("version") or ""),
        changes=[str(each) for each in offer.get("changes") or ()],
    )


def _offer(found: Mapping[str, Any]) -> dict[str, Any]:
    return dict((found.get("status") or {}).get("upgrade") or {})


def _count(count: int, noun: str = "service") -> str:
    verb = {"service": " runs" if count == 1 else " run"}.get(noun, "")
    return f"{count} {noun}{'' if count == 1 else 's'}{verb}"

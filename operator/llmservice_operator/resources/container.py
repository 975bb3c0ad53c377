"""The containers: the engine, and the inspection that reads a model's configuration."""

from typing import Any

from llmservice_contract import container as contract
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import devices, environment, loading, names, probes, resources, security, volumes
from llmservice_operator.resources.platform import Platform


def make_engine_container(
    service: str, spec: LLMServiceSpec, platform: Platform, configmap: str, rank: int = 0
) -> dict[str, Any]:
    """The engine's container, or that of a rank above 0; its plain environment stands in ``configmap``."""
    variables = [*environment.credentials(spec), *environment.of_rank(service, spec, rank)]
    several = spec.parallelism.is_multi_node
    drain = {"preStop": {"exec": {"command": list(contract.DRAIN_ARGUMENTS)}}}
    return {
        "name": contract.ENGINE_CONTAINER,
        **_program(spec, platform, contract.SERVE_ARGUMENTS),
        "envFrom": [{"configMapRef": {"name": configmap}}],
        **({"env": variables} if variables else {}),
        "ports": _ports(rank, several=several),
        **(probes.rank_probes(rank) if several else probes.engine_probes(loading.budget_seconds(spec))),
        **({"lifecycle": drain} if rank == 0 else {}),
        "resources": resources.engine_resources(spec, platform),
        "volumeMounts": volumes.engine_mounts(spec, rank),
    }


def make_inspection_container(spec: LLMServiceSpec, platform: Platform) -> dict[str, Any]:
    """The container that reports what the model's own configuration says, and computes nothing."""
    variables = environment.inspection(spec)
    plain = [{"name": name, "value": value} for name, value in sorted(variables.items())]
    return {
        "name": names.INSPECTION_CONTAINER,
        **_program(spec, platform, contract.INSPECT_ARGUMENTS),
        "env": [*plain, *environment.credentials(spec)],
        "resources": resources.inspection_resources(),
        "volumeMounts": volumes.inspection_mounts(spec),
    }


def _ports(rank: int, *, several: bool) -> list[dict[str, Any]]:
    served = {contract.HTTP_PORT_NAME: contract.HTTP_PORT, contract.METRICS_PORT_NAME: contract.METRICS_PORT}
    ports = served if rank == 0 else {}
    if several:
        ports |= {contract.PROBE_PORT_NAME: contract.PROBE_PORT}
    return [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()]


def _program(spec: LLMServiceSpec, platform: Platform, arguments: tuple[str, ...]) -> dict[str, Any]:
    return {
        "image": devices.image(spec.accelerator, platform),
        "imagePullPolicy": platform.image_pull_policy,
        "command": list(arguments[:-1]),
        "args": list(arguments[-1:]),
        "securityContext": security.container_security(),
        "terminationMessagePath": contract.TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }

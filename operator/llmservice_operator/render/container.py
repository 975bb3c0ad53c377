"""The containers: the engine, and the inspection that reads a model's configuration."""

from typing import Any

from llmservice_contract import container as contract
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.render import devices, environment, loading, names, probes, resources, security, volumes
from llmservice_operator.render.platform import Platform


def make_engine_container(spec: LLMServiceSpec, platform: Platform, configmap: str) -> dict[str, Any]:
    """The engine's container; its plain environment stands in ``configmap``."""
    credentials = environment.credentials(spec)
    return {
        "name": contract.ENGINE_CONTAINER,
        **_program(spec, platform, contract.SERVE_ARGUMENTS),
        "envFrom": [{"configMapRef": {"name": configmap}}],
        **({"env": credentials} if credentials else {}),
        "ports": [{"name": contract.HTTP_PORT_NAME, "containerPort": contract.HTTP_PORT, "protocol": "TCP"}],
        **probes.engine_probes(loading.budget_seconds(spec)),
        "lifecycle": {"preStop": {"exec": {"command": list(contract.DRAIN_ARGUMENTS)}}},
        "resources": resources.engine_resources(spec),
        "volumeMounts": volumes.engine_mounts(spec),
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

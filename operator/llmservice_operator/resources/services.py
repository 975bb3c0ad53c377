"""The Services: one for clients, and a headless one for the DNS names of pods."""

from typing import Any

from llmservice_contract.container import HTTP_PORT, HTTP_PORT_NAME
from llmservice_operator.resources import kinds, names
from llmservice_operator.resources.objects import Owner, metadata, sealed
from llmservice_operator.resources.platform import Platform


def make_client_service(owner: Owner, platform: Platform) -> dict[str, Any]:
    """The Service with a cluster IP. Only ready engines get requests."""
    return _service(
        owner,
        names.client_service(owner.name),
        platform,
        port=names.CLIENT_PORT,
        spec={"type": "ClusterIP", "sessionAffinity": "None", "publishNotReadyAddresses": False},
    )


def make_headless_service(owner: Owner, platform: Platform) -> dict[str, Any]:
    """The Service for the DNS names of pods, which exist before the pods are ready."""
    return _service(
        owner,
        names.headless_service(owner.name),
        platform,
        port=HTTP_PORT,
        spec={"type": "ClusterIP", "clusterIP": "None", "publishNotReadyAddresses": True},
    )


def address(owner: Owner, platform: Platform) -> str:
    """URL for clients inside the cluster."""
    return f"http://{names.client_service(owner.name)}.{owner.namespace}.svc.{platform.cluster_domain}"


def _service(owner: Owner, name: str, platform: Platform, port: int, spec: dict[str, Any]) -> dict[str, Any]:
    return sealed(
        {
            **kinds.SERVICE.header,
            "metadata": metadata(owner, name, names.ENGINE_COMPONENT),
            "spec": {
                **spec,
                **({"ipFamilyPolicy": platform.ip_family_policy} if platform.ip_family_policy else {}),
                "selector": names.selector(owner.name, names.ENGINE_COMPONENT),
                "ports": [{"name": HTTP_PORT_NAME, "port": port, "targetPort": HTTP_PORT_NAME, "protocol": "TCP"}],
            },
        }
    )

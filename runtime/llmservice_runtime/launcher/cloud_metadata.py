"""Keeps the clients of object stores and hubs away from the cloud's metadata service.

Without other credentials they ask that service for the role of the node, and would read with it what the service's
tenant may not. What a ServiceAccount brings into the pod (the web identity of EKS, its Pod Identity) is found through
variables and files, and goes on working.
"""

from __future__ import annotations

from types import MappingProxyType

NO_NODE_ROLE = MappingProxyType(
    {
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_GCE_CHECK": "true",
        "GCE_METADATA_HOST": "none.invalid",
        "GCE_METADATA_IP": "none.invalid",
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
    }
)
"""Environment of every process that reads a model."""

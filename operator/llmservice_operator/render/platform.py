"""What the platform team decided for all services: images and defaults. Set at start, never changes."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Platform:
    """The platform's choices that shape every rendered object."""

    runtime_image: str = "llmservice/runtime:0.1.0"
    """Image of the engine for NVIDIA GPUs."""
    runtime_image_amd: str = "llmservice/runtime-rocm:0.1.0"
    """Image of the engine for AMD GPUs."""
    runtime_image_cpu: str = "llmservice/runtime-cpu:0.1.0"
    """Image of the engine for CPUs."""
    image_pull_policy: str = "IfNotPresent"
    """Pull policy of the engine's image."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of pull secrets, each in the namespace of the service."""
    cluster_domain: str = "cluster.local"
    """DNS domain of the cluster."""

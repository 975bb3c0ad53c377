"""Whether a service's model fits the GPUs that it may get, from its spec, its model's config.json and the nodes."""

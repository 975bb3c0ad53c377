"""The children of a service as Kubernetes objects: one pure ``make_<kind>`` per kind."""

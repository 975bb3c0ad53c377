"""The children of a service as Kubernetes objects: one pure function ``make_<kind>`` per kind."""

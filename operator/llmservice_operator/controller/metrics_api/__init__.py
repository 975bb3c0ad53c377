"""The operator's server of external.metrics.k8s.io, which HPAs read through the API server's aggregation layer.

Only the leader serves it. Every request needs authentication and authorization by the API server: see
``authentication`` and ``authorization``.
"""

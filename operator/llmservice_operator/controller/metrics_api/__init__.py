"""The operator's own server of external.metrics.k8s.io: what the HPA asks, behind the API server's aggregation layer.

Only the operator that acts serves it. Who may read is decided by the API server's own means, in every request: see
``authentication`` and ``authorization``. Nothing is answered without both.
"""

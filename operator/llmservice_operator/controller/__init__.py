"""All I/O of the operator: watches, work queue, API access, leader election, Prometheus, metrics API."""

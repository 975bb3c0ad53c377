"""The autoscaler's loop, and the metrics that it publishes."""

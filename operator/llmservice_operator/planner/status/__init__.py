"""The status of a service: conditions, findings, costs, and the Events about it."""

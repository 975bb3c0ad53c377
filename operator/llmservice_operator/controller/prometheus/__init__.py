"""Reading Prometheus: client, credentials and errors."""

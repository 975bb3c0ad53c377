"""Client of Prometheus: queries, credentials and errors."""

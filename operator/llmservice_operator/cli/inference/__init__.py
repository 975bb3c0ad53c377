"""Requests to the model of a service, through the API server's proxy or to a URL."""

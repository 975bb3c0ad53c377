"""The API server: requests, errors, sessions, and bounds on its answers."""

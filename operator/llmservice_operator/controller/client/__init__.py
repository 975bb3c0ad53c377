"""Client of the API server: requests, errors, sessions, and bounds on its responses."""

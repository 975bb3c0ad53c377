"""Rate limits: what a key may use within 60 seconds, counted by each replica or by all replicas together."""

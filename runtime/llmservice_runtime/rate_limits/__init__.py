"""Rate limits: what a key may use within a minute, counted by each replica or by all replicas together."""

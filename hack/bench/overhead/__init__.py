"""What the front costs: servers to compare, a load on them, and what is computed from the figures."""

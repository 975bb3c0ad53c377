"""Scaling on latency, the pure part: what is measured, what follows from it, and how the HPA is told.

Nothing here reads a clock, a file or the network: measurements and times come as arguments.
"""

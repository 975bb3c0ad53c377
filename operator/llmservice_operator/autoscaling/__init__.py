"""Scaling on latency, the pure part: queries and answers, the algorithm, and the metric that the HPA follows.

Nothing here reads a clock, a file or the network: measurements and times are arguments.
"""

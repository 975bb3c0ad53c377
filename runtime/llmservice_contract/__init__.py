"""The contract between operator and runtime.

Both import this package, so it has only data and pure functions: the table of engine settings, the constants of the
engine container, and the formats of termination messages, findings and access policies.
"""

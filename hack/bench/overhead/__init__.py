"""Overhead of the gateway: servers to compare, load, and the computed figures."""

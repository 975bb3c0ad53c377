"""The parts of hostile.py: hostile models, metrics and requests."""

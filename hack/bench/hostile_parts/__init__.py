"""Parts of hostile.py: hostile models, metrics and requests, and what they do to others."""

"""A model's small files: where they are, what they say, and whether they may be loaded."""

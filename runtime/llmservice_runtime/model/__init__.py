"""Reads a model's small files and checks whether the model may be loaded."""

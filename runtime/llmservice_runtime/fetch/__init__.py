"""Fetches a model's files once into a directory that engines read: in pieces, resumable, and verified by digest."""

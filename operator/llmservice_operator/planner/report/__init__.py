"""Reasons, findings and conditions as data, and phrases for their messages."""

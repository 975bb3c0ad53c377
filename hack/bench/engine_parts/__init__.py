"""What an engine does by itself, each part with its own servers: batches, cached prefixes, first tokens of a load."""

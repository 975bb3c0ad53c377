"""OpenAI's Files and Batches: files on a volume, and batches whose lines use the idle capacity of services."""

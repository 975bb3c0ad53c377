"""What is decided, without any I/O: from what was observed to a plan."""

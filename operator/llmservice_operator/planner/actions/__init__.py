"""What follows from the conditions: children, deletions, and replicas on failed nodes."""

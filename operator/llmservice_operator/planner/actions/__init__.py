"""What follows from the conditions: children, deletions, and the handling of failed nodes."""

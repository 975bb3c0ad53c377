"""What decisions are made of: what was observed, the state of one service, and the plan."""

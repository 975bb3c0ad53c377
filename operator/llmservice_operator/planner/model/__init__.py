"""The inputs and the output of planning: the observed objects, the state of one service, and the plan."""

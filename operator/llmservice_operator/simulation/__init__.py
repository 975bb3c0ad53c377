"""What a change of a service will do, told before it is made: see ``foresee``.

The planner decides, as it does in the cluster. What is played here is the cluster alone: the controllers that
carry out what the planner wants (``sets``), the scheduler with its nodes and quotas (``places``), and pods that get
ready (``podlife``). So what is foreseen can't differ from what the operator would decide; it can differ from the
cluster where that does what nobody can know beforehand: a new pod that doesn't start, a node that is lost meanwhile.
"""

"""What a change of a service will do, before it is made: see ``simulate``.

The planner decides, as it does in the cluster. Only the cluster is a model: the StatefulSet controller
(``statefulset_controller``), the scheduler with its nodes and quotas (``scheduler``), and pods that become ready
(``pod_model``). So the simulation can't differ from the operator's decisions. It can differ from the cluster if
something happens that can't be known beforehand: a new pod does not start, or a node is lost meanwhile.
"""

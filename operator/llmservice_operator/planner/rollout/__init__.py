"""How the replicas of a service are replaced when their pod template changes; see ``planner.plan_rollout``.

The StatefulSet stores the progress: its partition is the number of the first replica with the new revision, its
currentRevision is the last one with which all replicas were ready, and an annotation stores the rest (see
``rollout_record``). So a rollout continues after a restart of the operator at any point.
"""

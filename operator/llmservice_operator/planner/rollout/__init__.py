"""How the replicas of a service are replaced when what they run changes: see ``shape``.

The StatefulSet itself holds the progress. Its partition says from which replica on the new revision is run, its
currentRevision is the last one that all replicas were ready with, and one annotation tells what else has to outlive
the operator (see ``record``). So a restart at any point goes on where it was.
"""

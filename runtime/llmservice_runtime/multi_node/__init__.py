"""The group agent: starts, stops and restarts the engines of one replica on several nodes together.

On each node the agent is PID 1 and runs the launcher as its child. The agents of the workers connect to rank 0 by TCP.
Invariants: no engine runs before all ranks have joined. While engines run, both ends of a connection send a heartbeat
every few seconds. If a connection is lost, the agents kill every engine and join again; only the rank whose engine
exited first ends its container. So a failure restarts its own group and nothing else.
"""

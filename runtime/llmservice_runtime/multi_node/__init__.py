"""The group agent: one replica of a model over several nodes, started, stopped and started again together.

On each node an agent takes the place of the launcher and runs the launcher as its child. The agents of ranks above 0
join rank 0 by TCP. Always: no engine runs before all ranks have joined; while they run, each end of a link hears from
the other every few seconds; where a link is lost, every engine is killed and the agents meet again, and only the rank
whose engine ended by itself ends its container. So a failure restarts its own group and nothing else.
"""

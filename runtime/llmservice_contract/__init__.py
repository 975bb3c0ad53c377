"""What the operator and the runtime have to agree on, and nothing else.

Both sides import this package, so it holds data and pure functions of the standard library only: the table of
environment variables, the constants of the engine container, and the message that a model inspection leaves.
"""

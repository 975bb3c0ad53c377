"""The conditions of a service and the checks before them: spec, model, memory, gangs, serving and scaling."""

"""The parts of hack/bench/gateway.py."""

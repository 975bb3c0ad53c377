"""Whether a model fits a GPU, reckoned before anything is started: pure, from config.json and figures alone.

``fit.fit(request)`` gives a ledger in bytes per GPU and a verdict. What a module here claims of vLLM (sharding, cache
groups, block sizes) is held against vLLM itself on a CPU, to the byte; what only a GPU can tell (activation, CUDA
graphs, what lies outside of PyTorch) is calibrated on published measurements, see docs/fit.md for the error found.
Where a model's memory is not known how to be reckoned, the verdict is Unknown, with the reason.
"""

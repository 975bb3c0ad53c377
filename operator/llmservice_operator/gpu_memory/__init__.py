"""Estimates whether a model fits a GPU, from config.json and constants alone, before anything is started.

``fit.fit(request)`` returns a ledger in bytes per GPU and a verdict. What a module here states about vLLM (sharding,
cache groups, block sizes) is compared with vLLM itself on a CPU, to the byte. What only a GPU can show (activations,
CUDA graphs, memory outside of PyTorch) is calibrated with published measurements; docs/fit.md states the error. If the
memory use of an architecture is not known, the verdict is Unknown, with the reason.
"""

"""What the commands that load a server with an OpenAI API share: who asks, how it is timed, what is told of it.

Figures are defined as `vllm bench serve` defines them, so that both can be compared; `hack/bench/agreement.py` does.
Time and randomness are arguments, and nothing here knows whose server it is.
"""

"""What the commands that load a server with an OpenAI API share: clients, timing, figures.

Figures are defined as `vllm bench serve` defines them, so that both can be compared; `hack/bench/agreement.py` does.
Time and randomness are arguments, and nothing here knows whose server it is.
"""

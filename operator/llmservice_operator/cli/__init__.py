"""`kubectl llm`: what people do with services that `kubectl` alone can't.

Each command talks to the API server as the person who runs it, with that person's kubeconfig and rights; the operator
has no part in it. Results go to stdout, everything else to stderr. Exit status: 0 done, 1 not done and a sentence why,
2 a command line that makes no sense; `explain` and `plan` have statuses of their own.
"""

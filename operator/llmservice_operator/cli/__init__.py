"""`kubectl llm`: commands for services that `kubectl` does not have.

Each command uses the kubeconfig and the permissions of the user who runs it; the operator is not involved. Results go
to stdout, everything else to stderr. Exit status: 0 success, 1 failure with a message, 2 usage error; `explain` and
`plan` have exit statuses of their own.
"""

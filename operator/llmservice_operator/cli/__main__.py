"""`python -m llmservice_operator.cli`, if `kubectl-llm` is not on the PATH."""

from llmservice_operator.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())

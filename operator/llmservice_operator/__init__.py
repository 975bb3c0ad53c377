"""The operator: watches LLMService resources and keeps what serves them."""

__version__ = "0.4.0"

"""The LLMService resource as types: the one source of the CRD under crds/."""

from llmservice_operator.api.service import GROUP, KIND, PLURAL, VERSION, LLMServiceSpec

__all__ = ["GROUP", "KIND", "PLURAL", "VERSION", "LLMServiceSpec"]

"""The LLMService resource as types: the one source of the CRD under crds/. Here is only what it is called."""

GROUP = "llmservice.dev"
VERSION = "v1alpha1"
KIND = "LLMService"
PLURAL = "llmservices"
SINGULAR = "llmservice"

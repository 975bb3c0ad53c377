"""The LLMService resource as types: the only source of the CRD under crds/. This module has only its names."""

GROUP = "llmservice.dev"
VERSION = "v1alpha1"
KIND = "LLMService"
PLURAL = "llmservices"
SINGULAR = "llmservice"

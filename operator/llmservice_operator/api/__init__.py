"""The types of the LLMService resource: the only source of the CRD in crds/. This module has only its names."""

GROUP = "llmservice.dev"
VERSION = "v1alpha1"
KIND = "LLMService"
PLURAL = "llmservices"
SINGULAR = "llmservice"

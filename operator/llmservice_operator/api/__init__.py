"""The types of the resources: the only source of the CRDs in crds/. This module has only their names."""

GROUP = "llmservice.dev"
VERSION = "v1alpha1"
KIND = "LLMService"
PLURAL = "llmservices"
SINGULAR = "llmservice"
MODEL_KIND, MODEL_PLURAL = "LLMModel", "llmmodels"
CLUSTER_MODEL_KIND, CLUSTER_MODEL_PLURAL = "ClusterLLMModel", "clusterllmmodels"

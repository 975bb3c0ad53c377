{{/* Written by hack/generators/chart_kinds.py from llmservice_operator.resources.kinds; change that. */}}

{{/* Kinds of children as a list in JSON; "made": whether the operator makes them itself. */}}
{{- define "llmservice.childKinds" -}}
[
  {"group": "apps", "resource": "statefulsets", "made": true},
  {"group": "", "resource": "configmaps", "made": true},
  {"group": "", "resource": "services", "made": true},
  {"group": "policy", "resource": "poddisruptionbudgets", "made": true},
  {"group": "networking.k8s.io", "resource": "networkpolicies", "made": true},
  {"group": "autoscaling", "resource": "horizontalpodautoscalers", "made": true},
  {"group": "keda.sh", "resource": "scaledobjects", "made": true},
  {"group": "resource.k8s.io", "resource": "resourceclaimtemplates", "made": true},
  {"group": "inference.networking.k8s.io", "resource": "inferencepools", "made": true},
  {"group": "gateway.networking.k8s.io", "resource": "httproutes", "made": true},
  {"group": "batch", "resource": "jobs", "made": true},
  {"group": "", "resource": "pods", "made": false},
  {"group": "", "resource": "persistentvolumeclaims", "made": false}
]
{{- end }}

{{/* What the operator does with children, except for kinds whose verbs depend on values: _rbac.tpl has these. */}}
{{- define "llmservice.childRules" -}}
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [resource.k8s.io]
  resources: [resourceclaimtemplates]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, delete]
{{- end }}

{{/* Parts of the policies on what the operator itself may write. */}}

{{/* A policy on the operator's own requests, up to its validations; of (dict ROOT NAME RULES CONDITIONS PARAMS). Rules are lists of
group, resource and operations. */}}
{{- define "llmservice.ownPolicy" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ .name }}
  labels:
    {{- include "llmservice.labels" .root | nindent 4 }}
spec:
  failurePolicy: Fail
  {{- if .params }}
  paramKind:
    apiVersion: llmservice.dev/v1alpha1
    kind: LLMService
  {{- end }}
  matchConstraints:
    {{- if .params }}
    # Where there are no parameters, whoever writes is refused, before any condition is looked at: so of such objects alone.
    objectSelector:
      matchLabels:
        app.kubernetes.io/managed-by: llmservice-operator
    {{- end }}
    resourceRules:
      {{- range .rules }}
      - apiGroups: [{{ index . 0 | quote }}]
        apiVersions: ["*"]
        operations: {{ toJson (index . 2) }}
        resources: [{{ index . 1 }}]
      {{- end }}
  matchConditions:
    - name: by-the-operator
      expression: {{ include "llmservice.isOperator" .root | quote }}
    {{- range $name, $expression := .conditions }}
    - name: {{ $name }}
      expression: {{ $expression | quote }}
    {{- end }}
{{- end }}

{{/* Its binding; of (dict ROOT NAME PARAMS). With params each LLMService of the object's namespace is one. What is created needs
one; changes do not, as Kubernetes' garbage collector takes finalizers out of what a deleted service has left. */}}
{{- define "llmservice.ownBinding" -}}
{{- $bindings := list (list .name "" "") }}
{{- if .params }}
{{- $bindings = list (list .name "CREATE" "Deny") (list (printf "%s-changes" .name) "UPDATE" "Allow") }}
{{- end }}
{{- range $bindings }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ index . 0 }}
  labels:
    {{- include "llmservice.labels" $.root | nindent 4 }}
spec:
  policyName: {{ $.name }}
  {{- if $.params }}
  paramRef:
    selector: {}
    parameterNotFoundAction: {{ index . 2 }}
  matchResources:
    resourceRules:
      - apiGroups: ["*"]
        apiVersions: ["*"]
        operations: [{{ index . 1 }}]
        resources: ["*"]
  {{- end }}
  validationActions: [Deny]
{{- end }}
{{- end }}

{{/* CEL: whether an owner reference is that of a service that is the controller; of its expression. */}}
{{- define "llmservice.isServiceOwner" -}}
({{ . }}.kind == 'LLMService' && {{ . }}.apiVersion.startsWith('llmservice.dev/') && has({{ . }}.controller) && {{ . }}.controller)
{{- end }}

{{/* CEL: whether an object has the operator's label or belongs to a service; of its expression. */}}
{{- define "llmservice.isOwn" -}}
((has({{ . }}.metadata.labels) && 'app.kubernetes.io/managed-by' in {{ . }}.metadata.labels &&
{{ . }}.metadata.labels['app.kubernetes.io/managed-by'] == 'llmservice-operator') ||
(has({{ . }}.metadata.ownerReferences) && {{ . }}.metadata.ownerReferences.exists(o, {{ include "llmservice.isServiceOwner" "o" }})))
{{- end }}

{{/* CEL: whether a pod takes a Secret by that name; of (dict POD NAME). */}}
{{- define "llmservice.podHasSecret" -}}
((has({{ .pod }}.volumes) && {{ .pod }}.volumes.exists(w, has(w.secret) && w.secret.secretName == {{ .name }})) ||
{{ .pod }}.containers.exists(d, has(d.env) && d.env.exists(f, has(f.valueFrom) && has(f.valueFrom.secretKeyRef) &&
f.valueFrom.secretKeyRef.name == {{ .name }})))
{{- end }}

{{/* CEL: the names that a StatefulSet's last good template, which an annotation holds as JSON with sorted keys, has behind a text;
of (dict OBJECT AFTER PART), PART being which piece between quotation marks the name is then. */}}
{{- define "llmservice.lastGood" -}}
(has({{ .object }}.metadata.annotations) && 'llmservice.dev/last-good' in {{ .object }}.metadata.annotations ?
{{ .object }}.metadata.annotations['llmservice.dev/last-good'].split('{{ .after }}').filter(s, !s.startsWith('{')).map(s, s.split('"')[{{ .part }}]) : [])
{{- end }}

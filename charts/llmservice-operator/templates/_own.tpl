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
    # If there are no parameters, the API server refuses every write before it evaluates a condition. So parameters are for such objects alone.
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

{{/* CEL: whether an owner reference is that of a service that is the controller; of its expression. The garbage collector deletes
nothing because of an owner whose API version is not served, so the version is compared too. */}}
{{- define "llmservice.isServiceOwner" -}}
({{ . }}.kind == 'LLMService' && {{ . }}.apiVersion == 'llmservice.dev/v1alpha1' && has({{ . }}.controller) && {{ . }}.controller)
{{- end }}

{{/* CEL: the names of the services that own the object. */}}
{{- define "llmservice.ownerNames" -}}
(has(object.metadata.ownerReferences) ? object.metadata.ownerReferences.filter(o, {{ include "llmservice.isServiceOwner" "o" }}).map(o, o.name) : [])
{{- end }}

{{/* CEL: whether an object without a service as its owner gets one; the object may have been left by a deleted service. */}}
{{- define "llmservice.isAdoption" -}}
request.operation == 'UPDATE' && (!has(oldObject.metadata.ownerReferences) ||
!oldObject.metadata.ownerReferences.exists(o, {{ include "llmservice.isServiceOwner" "o" }}))
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

{{/* Variables and validations of a policy on the Secrets and claims of pods. With true, those that an LLMService names are allowed
(it is a parameter of the policy); those of the old object are in any case. */}}
{{- define "llmservice.ownSecretRules" -}}
{{- $those := . | ternary "their LLMService names" "an adopted StatefulSet or Job had before; delete it to have it made anew" }}
{{- $secretNames := list (dict "after" "\"secretName\":\"" "part" 0) (dict "after" "\"secretKeyRef\":{\"key\":\"" "part" 4) }}
{{- $claimNames := list (dict "after" "\"claimName\":\"" "part" 0) }}
  variables:
    {{- if . }}
    - name: others
      expression: >-
        !has(object.metadata.ownerReferences) || !object.metadata.ownerReferences.exists(o,
        {{ include "llmservice.isServiceOwner" "o" }} && o.name == params.metadata.name)
    {{- else }}
    - name: others
      expression: "false"
    {{- end }}
    - name: changes
      expression: request.operation == 'UPDATE'
    - name: pod
      expression: object.spec.template.spec
    - name: containers
      expression: "variables.pod.containers + (has(variables.pod.initContainers) ? variables.pod.initContainers : [])"
    {{- if . }}
    - name: secrets
      expression: >-
        (has(params.spec.model.credentialsRef) ? [params.spec.model.credentialsRef.name] : []) +
        (has(params.spec.access) && has(params.spec.access.apiKeys) ? [params.spec.access.apiKeys.secretRef.name] : []) +
        (has(params.spec.access) && has(params.spec.access.rateLimits) && has(params.spec.access.rateLimits.store) &&
        has(params.spec.access.rateLimits.store.credentialsRef) ? [params.spec.access.rateLimits.store.credentialsRef.name] : []) +
        (has(params.spec.parallelism) && has(params.spec.parallelism.secretRef) ? [params.spec.parallelism.secretRef.name] : [])
    - name: claims
      expression: "params.spec.model.source.startsWith('pvc://') ? [params.spec.model.source.split('/')[2]] : []"
    {{- else }}
    - name: secrets
      expression: "[]"
    - name: claims
      expression: "[]"
    {{- end }}
    {{- range $of, $found := dict "Secrets" $secretNames "Claims" $claimNames }}
    {{- range $when, $object := dict "kept" "oldObject" "keeps" "object" }}
    {{- $lists := list }}
    {{- range $found }}{{ $lists = append $lists (include "llmservice.lastGood" (merge (dict "object" $object) .)) }}{{ end }}
    - name: {{ $when }}{{ $of }}
      {{- $joined := join " + " $lists }}
      expression: {{ (eq $when "kept" | ternary (printf "variables.changes ? %s : []" $joined) $joined) | quote }}
    {{- end }}
    {{- end }}
  validations:
    {{- $secret := "(%[1]s in variables.secrets || %[1]s in variables.keptSecrets || (variables.changes && %[2]s))" }}
    {{- $ofVolume := printf $secret "v.secret.secretName" (include "llmservice.podHasSecret" (dict "pod" "oldObject.spec.template.spec" "name" "v.secret.secretName") | replace "\n" " ") }}
    {{- $ofVariable := printf $secret "e.valueFrom.secretKeyRef.name" (include "llmservice.podHasSecret" (dict "pod" "oldObject.spec.template.spec" "name" "e.valueFrom.secretKeyRef.name") | replace "\n" " ") }}
    {{- $ofGood := printf $secret "s" (include "llmservice.podHasSecret" (dict "pod" "oldObject.spec.template.spec" "name" "s") | replace "\n" " ") }}
    - expression: >-
        variables.others || !has(variables.pod.volumes) || variables.pod.volumes.all(v,
        (!has(v.secret) || {{ $ofVolume }}) && (!has(v.projected) || v.projected.sources.all(s, !has(s.secret))))
      message: the operator makes pods with volumes of those Secrets alone that {{ $those }}
      reason: Forbidden
    - expression: >-
        variables.others || variables.containers.all(c, (!has(c.envFrom) || c.envFrom.all(f, !has(f.secretRef))) && (!has(c.env) ||
        c.env.all(e, !has(e.valueFrom) || !has(e.valueFrom.secretKeyRef) || {{ $ofVariable }})))
      message: the operator makes pods with variables of those Secrets alone that {{ $those }}
      reason: Forbidden
    - expression: >-
        variables.others || !has(variables.pod.volumes) || variables.pod.volumes.all(v, !has(v.persistentVolumeClaim) ||
        v.persistentVolumeClaim.claimName in variables.claims || v.persistentVolumeClaim.claimName in variables.keptClaims ||
        (variables.changes && has(oldObject.spec.template.spec.volumes) && oldObject.spec.template.spec.volumes.exists(w,
        has(w.persistentVolumeClaim) && w.persistentVolumeClaim.claimName == v.persistentVolumeClaim.claimName)))
      message: the operator makes pods with that volume claim alone that {{ $those }}
      reason: Forbidden
    - expression: >-
        variables.others || (variables.keepsSecrets.all(s, {{ $ofGood }}) && variables.keepsClaims.all(s, s in variables.claims ||
        s in variables.keptClaims || (variables.changes && has(oldObject.spec.template.spec.volumes) &&
        oldObject.spec.template.spec.volumes.exists(w, has(w.persistentVolumeClaim) && w.persistentVolumeClaim.claimName == s))))
      message: the operator keeps of a service's earlier pods no Secret and no claim that they did not have
      reason: Forbidden
{{- end }}

{{/* CEL: the pull secrets of a StatefulSet's last good template, each as its JSON; of the object's expression. */}}
{{- define "llmservice.lastGoodPull" -}}
(has({{ . }}.metadata.annotations) && 'llmservice.dev/last-good' in {{ . }}.metadata.annotations &&
{{ . }}.metadata.annotations['llmservice.dev/last-good'].split('"imagePullSecrets":[').size() > 1 ?
{{ . }}.metadata.annotations['llmservice.dev/last-good'].split('"imagePullSecrets":[')[1].split(']')[0].split(',') : [])
{{- end }}

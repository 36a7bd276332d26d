{{/* Labels of every object that the chart makes. */}}
{{- define "spawnai.labels" -}}
app.kubernetes.io/name: spawnai
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The image of this release. */}}
{{- define "spawnai.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/* The image of the inspector, which has a browser. */}}
{{- define "spawnai.inspector.image" -}}
{{- $image := .Values.inspector.image | default dict -}}
{{- if $image.digest }}{{ $image.repository | default "spawnai-inspector" }}@{{ $image.digest }}{{ else }}{{ $image.repository | default "spawnai-inspector" }}:{{ $image.tag | default .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* What a container of a hook needs: the image, and the restricted security context. */}}
{{- define "spawnai.hook.container" -}}
image: {{ include "spawnai.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy | default "IfNotPresent" }}
resources:
  requests:
    cpu: 10m
    memory: 64Mi
    ephemeral-storage: 8Mi
  limits:
    memory: 256Mi
    ephemeral-storage: 32Mi
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* What the pod of a hook needs. */}}
{{- define "spawnai.hook.pod" -}}
restartPolicy: Never
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.operator.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Whether an object of manifests/ belongs to this release ("true" or nothing).
The label app.kubernetes.io/component says which part an object is of; none: the operator's.
*/}}
{{- define "spawnai.isEnabled" -}}
{{- $values := .root.Values -}}
{{- $kind := .object.kind -}}
{{- $component := dig "metadata" "labels" "app.kubernetes.io/component" "operator" .object -}}
{{- $on := true -}}
{{- if ne $component "operator" }}{{ $on = dig $component "enabled" false $values.AsMap }}{{ end -}}
{{- if hasSuffix "RoleBinding" $kind }}{{ $on = and $on $values.rbac.create }}{{ end -}}
{{- if hasSuffix "Role" $kind }}{{ $on = and $on $values.rbac.create }}{{ end -}}
{{- if and (eq "ServiceAccount" $kind) (eq "operator" $component) }}{{ $on = and $on $values.serviceAccount.create }}{{ end -}}
{{- if eq "Kustomization" $kind }}{{ $on = false }}{{ end -}}
{{- if eq "NetworkPolicy" $kind }}{{ $on = and $on $values.networkPolicy.enabled }}{{ end -}}
{{- if contains "AdmissionPolicy" $kind }}{{ $on = and $on $values.admissionPolicies.enabled }}{{ end -}}
{{- if hasPrefix "MutatingAdmissionPolicy" $kind }}{{ $on = and $on (semverCompare ">=1.36-0" .root.Capabilities.KubeVersion.Version) }}{{ end -}}
{{- if $on }}true{{ end -}}
{{- end }}

{{/* An object of manifests/, as this release installs it. */}}
{{- define "spawnai.object" -}}
{{- $object := .object -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $account := $values.serviceAccount.name -}}
{{- $labels := merge (fromYaml (include "spawnai.labels" $root)) ($object.metadata.labels | default dict) -}}
{{- if and (eq $object.kind "ClusterRole") (not $values.rbac.aggregateClusterRoles) -}}
{{- range $name, $_ := $labels -}}
{{- if hasPrefix "rbac.authorization.k8s.io/aggregate-to-" $name }}{{ $_ := unset $labels $name }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $_ := set $object.metadata "labels" $labels -}}
{{- if and (eq $object.kind "ServiceAccount") (eq $object.metadata.name "spawnai-operator") -}}
{{- $_ := set $object.metadata "name" $account -}}
{{- with $values.serviceAccount.annotations }}{{ $_ := set $object.metadata "annotations" (mergeOverwrite ($object.metadata.annotations | default dict) .) }}{{ end -}}
{{- end -}}
{{- range $object.subjects | default list -}}
{{- if eq .name "spawnai-operator" }}{{ $_ := set . "name" $account }}{{ end -}}
{{- end -}}
{{- if eq $object.kind "Deployment" }}{{ $_ := include "spawnai.deployment" . }}{{ end -}}
{{- if and (eq $object.kind "Service") (eq $object.metadata.name "spawnai-gateway") -}}
{{- with $values.gateway.service -}}
{{- $_ := set $object.spec "type" .type -}}
{{- if eq .type "ClusterIP" }}{{ $_ := unset $object.spec "externalTrafficPolicy" }}{{ end -}}
{{- with .annotations }}{{ $_ := set $object.metadata "annotations" . }}{{ end -}}
{{- end -}}
{{- end -}}
{{ toYaml $object }}
{{- end }}

{{/* Change a Deployment as the values of its part say; prints nothing. */}}
{{- define "spawnai.deployment" -}}
{{- $root := .root -}}
{{- $deployment := .object -}}
{{- $component := index $deployment.metadata.labels "app.kubernetes.io/component" -}}
{{- $settings := merge (dict) (index $root.Values.AsMap $component) -}}
{{- $template := $deployment.spec.template -}}
{{- $pod := $template.spec -}}
{{- with $settings.annotations }}{{ $_ := set $deployment.metadata "annotations" (mergeOverwrite ($deployment.metadata.annotations | default dict) .) }}{{ end -}}
{{- if hasKey $settings "replicaCount" }}{{ $_ := set $deployment.spec "replicas" (int $settings.replicaCount) }}{{ end -}}
{{- $_ := set $template.metadata "labels" (merge $template.metadata.labels $root.Values.commonLabels ($settings.podLabels | default dict)) -}}
{{- with $settings.podAnnotations }}{{ $_ := set $template.metadata "annotations" (mergeOverwrite ($template.metadata.annotations | default dict) .) }}{{ end -}}
{{- if eq $pod.serviceAccountName "spawnai-operator" }}{{ $_ := set $pod "serviceAccountName" $root.Values.serviceAccount.name }}{{ end -}}
{{- with $root.Values.imagePullSecrets }}{{ $_ := set $pod "imagePullSecrets" . }}{{ end -}}
{{- range list "priorityClassName" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" -}}
{{- if index $settings . }}{{ $_ := set $pod . (index $settings .) }}{{ end -}}
{{- end -}}
{{- with $settings.podSecurityContext }}{{ $_ := set $pod "securityContext" (mergeOverwrite $pod.securityContext .) }}{{ end -}}
{{- with $settings.extraVolumes }}{{ $_ := set $pod "volumes" (concat ($pod.volumes | default list) .) }}{{ end -}}
{{- range $pod.containers -}}
{{- /* Only our own image is replaced: a part may have a second container. */ -}}
{{- if hasPrefix "spawnai-inspector:" .image -}}
{{- $_ := set . "image" (include "spawnai.inspector.image" $root) -}}
{{- end -}}
{{- if hasPrefix "spawnai-operator:" .image -}}
{{- $_ := set . "image" (include "spawnai.image" $root) -}}
{{- if $root.Values.image.pullPolicy }}{{ $_ := set . "imagePullPolicy" $root.Values.image.pullPolicy }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $container := first $pod.containers -}}
{{- if eq $component "gateway" -}}
{{- range $container.env }}{{ if eq .name "SPAWNAI_GATEWAY_DOMAIN" }}{{ $_ := set . "value" $settings.domain }}{{ end }}{{ end -}}
{{- range $pod.volumes }}{{ if eq .name "tls" }}{{ $_ := set .secret "secretName" $settings.tlsSecretName }}{{ end }}{{ end -}}
{{- end -}}
{{- if eq $component "console" -}}
{{- range $container.env }}{{ if eq .name "SPAWNAI_DATABASE_URL" }}{{ $_ := set .valueFrom.secretKeyRef "name" $settings.historySecretName }}{{ end }}{{ end -}}
{{- end -}}
{{- with $settings.resources }}{{ $_ := set $container "resources" . }}{{ end -}}
{{- with $settings.securityContext }}{{ $_ := set $container "securityContext" (mergeOverwrite $container.securityContext .) }}{{ end -}}
{{- with $settings.extraArgs }}{{ $_ := set $container "args" (concat ($container.args | default list) .) }}{{ end -}}
{{- with $settings.extraVolumeMounts }}{{ $_ := set $container "volumeMounts" (concat ($container.volumeMounts | default list) .) }}{{ end -}}
{{- /* A variable is given once: server-side apply refuses a list with the same name twice. */ -}}
{{- $given := $settings.extraEnv | default list -}}
{{- range $name, $value := $settings.env | default dict }}{{ $given = append $given (dict "name" $name "value" $value) }}{{ end -}}
{{- if and (eq $component "operator") (dig "inspector" "enabled" false $root.Values.AsMap) -}}
{{- $container = set $container "env" (append $container.env (dict "name" "SPAWNAI_INSPECTOR_URL" "value" "http://spawnai-inspector")) -}}
{{- end -}}
{{- $names := dict -}}
{{- range $given -}}
{{- if hasKey $names .name }}{{ fail (printf "%s: the environment variable %s is given twice, in env and extraEnv or twice in extraEnv" $component .name) }}{{ end -}}
{{- $_ := set $names .name true -}}
{{- end -}}
{{- $kept := list -}}
{{- range $container.env | default list }}{{ if not (hasKey $names .name) }}{{ $kept = append $kept . }}{{ end }}{{ end -}}
{{- with concat $kept $given }}{{ $_ := set $container "env" . }}{{ end -}}
{{- end }}

{{/*
Names are fixed, as in crds/src/names.rs: the resources are cluster-scoped, so there is one bpfleet in a cluster.
*/}}

{{/* Labels that tell components apart, for selectors; the argument is the component. */}}
{{- define "bpfleet.selector" -}}
app.kubernetes.io/name: bpfleet
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* Labels of every object; the argument is a list of the root context and the component. */}}
{{- define "bpfleet.labels" -}}
{{- $root := index . 0 -}}
{{ include "bpfleet.selector" (index . 1) }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels of pods: no versions, so that a chart that changes nothing of a pod does not replace it. */}}
{{- define "bpfleet.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "bpfleet.selector" (index . 1) }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- end }}

{{/* An image reference; the argument is a list of the root context and the values of the image. */}}
{{- define "bpfleet.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.image.registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* A level as RUST_LOG. The client logs every failed request by itself, which its callers do with more sense. */}}
{{- define "bpfleet.rustLog" -}}
{{ . }},kube_client=off
{{- end }}

{{/* Where pods of the operator's image run; the argument is the root context. */}}
{{- define "bpfleet.operator.placement" -}}
{{- with .Values.image.pullSecrets }}
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

{{/* Security of pods of the operator's image; the argument is the root context. OpenShift gives each namespace its own
     range of users and refuses any other. */}}
{{- define "bpfleet.operator.podSecurityContext" -}}
runAsNonRoot: true
{{- if not .Values.openshift.enabled }}
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "bpfleet.operator.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/*
The agent's capabilities as a YAML list. DAC_OVERRIDE: binaries that uprobes go to may belong to others than root, and so
may what lies in a BPF file system that somebody mounted with a mode of their own.
*/}}
{{- define "bpfleet.agent.capabilities" -}}
{{- $capabilities := list "BPF" "PERFMON" "NET_ADMIN" "DAC_OVERRIDE" -}}
{{- if eq .Values.agent.privileges "SysAdmin" -}}
{{- /* SYS_ADMIN includes BPF and PERFMON, which some runtimes refuse to add on kernels that do not know them. */ -}}
{{- $capabilities = list "SYS_ADMIN" "SYS_RESOURCE" "NET_ADMIN" "DAC_OVERRIDE" -}}
{{- end -}}
{{- concat $capabilities (.Values.agent.extraCapabilities | default list) | uniq | toYaml -}}
{{- end }}

{{/* A size such as 1280Mi in bytes; values.schema.json has checked its form. */}}
{{- define "bpfleet.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mul (regexFind "^[0-9]+" .) (get $units (regexFind "[A-Za-z]*$" .)) -}}
{{- end }}

{{/* Annotations of hooks; the argument is the weight. */}}
{{- define "bpfleet.uninstall.hook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "bpfleet.verify.hook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

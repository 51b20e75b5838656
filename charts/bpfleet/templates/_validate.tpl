{{/*
What values.schema.json cannot say: values that contradict each other or the cluster. All that is wrong is said at once.
*/}}
{{- define "bpfleet.validate" -}}
{{- $wrong := concat
  (include "bpfleet.validate.values" . | fromJsonArray)
  (include "bpfleet.validate.cluster" . | fromJsonArray) -}}
{{- with $wrong -}}
{{- fail (printf "\n- %s" (join "\n- " .)) -}}
{{- end -}}
{{- end }}

{{- define "bpfleet.validate.values" -}}
{{- $values := .Values -}}
{{- $wrong := list -}}

{{- if and $values.operator.podDisruptionBudget.enabled (lt (int $values.operator.replicas) 2) -}}
{{- $wrong = append $wrong "operator.podDisruptionBudget.enabled with operator.replicas 1 would hold up every drain of the operator's node: set operator.replicas to 2 or more, or operator.podDisruptionBudget.enabled to false" -}}
{{- end -}}

{{- if lt (include "bpfleet.bytes" $values.operator.cache.sizeLimit | int64) 1073741824 -}}
{{- $wrong = append $wrong (printf "operator.cache.sizeLimit is %s, but the operator keeps up to 1Gi there and its pods would be evicted: set it to 1Gi or more" $values.operator.cache.sizeLimit) -}}
{{- end -}}

{{- if lt (include "bpfleet.bytes" $values.agent.cache.sizeLimit | int64) 67108864 -}}
{{- $wrong = append $wrong (printf "agent.cache.sizeLimit is %s, but one object may have 16Mi and an update needs two of each program: set it to 64Mi or more" $values.agent.cache.sizeLimit) -}}
{{- end -}}

{{- if and $values.agent.metrics.enabled (eq (int $values.agent.metrics.port) (int $values.agent.healthPort)) -}}
{{- $wrong = append $wrong (printf "agent.metrics.port and agent.healthPort are both %d on the same node: change one of them" (int $values.agent.healthPort)) -}}
{{- end -}}

{{- with $values.agent.cache.hostPath -}}
{{- if not (hasPrefix "/" .) -}}
{{- $wrong = append $wrong (printf "agent.cache.hostPath is %q, which is not an absolute path: write one such as /var/lib/bpfleet" .) -}}
{{- else if ne . (clean .) -}}
{{- $wrong = append $wrong (printf "agent.cache.hostPath is %q: write it as %s" . (clean .)) -}}
{{- else if or (eq . "/") (regexMatch "^/(dev|proc|sys|run)(/|$)" .) -}}
{{- $wrong = append $wrong (printf "agent.cache.hostPath is %q, where no file can be kept, or not beyond a reboot: write one such as /var/lib/bpfleet" .) -}}
{{- end -}}
{{- end -}}

{{- range $values.agent.extraCapabilities -}}
{{- if hasPrefix "CAP_" . -}}
{{- $wrong = append $wrong (printf "agent.extraCapabilities has %s: Kubernetes names it %s" . (trimPrefix "CAP_" .)) -}}
{{- else if eq . "ALL" -}}
{{- $wrong = append $wrong "agent.extraCapabilities has ALL: set agent.privileges to Privileged instead" -}}
{{- end -}}
{{- end -}}
{{- if and $values.agent.extraCapabilities (eq $values.agent.privileges "Privileged") -}}
{{- $wrong = append $wrong "agent.extraCapabilities adds nothing to agent.privileges Privileged: remove it, or set agent.privileges to Capabilities" -}}
{{- end -}}

{{- range $component := list "operator" "agent" -}}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/component" "app.kubernetes.io/instance" -}}
{{- if hasKey (index $values $component "podLabels" | default dict) $label -}}
{{- $wrong = append $wrong (printf "%s.podLabels has %s, by which bpfleet finds its pods: remove it there" $component $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and $values.metrics.podMonitor.enabled $values.networkPolicy.enabled (not $values.networkPolicy.metricsFrom) -}}
{{- $wrong = append $wrong "metrics.podMonitor.enabled, but the operator's NetworkPolicy lets no scrape in: name Prometheus in networkPolicy.metricsFrom, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}], or set networkPolicy.enabled to false" -}}
{{- end -}}
{{- if and $values.networkPolicy.metricsFrom (not $values.networkPolicy.enabled) -}}
{{- $wrong = append $wrong "networkPolicy.metricsFrom has no effect without networkPolicy.enabled: set that to true, or remove it" -}}
{{- end -}}

{{- if and $values.openshift.enabled (not $values.agent.seLinux.enabled) (ne $values.agent.privileges "Privileged") -}}
{{- $wrong = append $wrong "openshift.enabled with agent.seLinux.enabled false: OpenShift enforces SELinux, under which the agent could not use eBPF; set agent.seLinux.enabled to true" -}}
{{- end -}}
{{- $wrong | toJson -}}
{{- end }}

{{/* Looks at the cluster, if there is one: `helm template` and client-side dry runs know none. */}}
{{- define "bpfleet.validate.cluster" -}}
{{- $wrong := list -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}
{{- $namespace := lookup "v1" "Namespace" "" .Release.Namespace -}}
{{- $level := dig "metadata" "labels" "pod-security.kubernetes.io/enforce" "" $namespace -}}
{{- if has $level (list "restricted" "baseline") -}}
{{- $wrong = append $wrong (printf "namespace %s enforces the Pod Security level %s, which refuses the agent's host mounts and capabilities. Run: kubectl label --overwrite namespace %s pod-security.kubernetes.io/enforce=privileged" .Release.Namespace $level .Release.Namespace) -}}
{{- end -}}
{{- if and .Values.metrics.podMonitor.enabled (not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PodMonitor")) -}}
{{- $wrong = append $wrong "metrics.podMonitor.enabled, but the cluster has no PodMonitor (monitoring.coreos.com/v1): install the Prometheus operator's CRDs first, or set metrics.podMonitor.enabled to false" -}}
{{- end -}}
{{- if and .Values.openshift.enabled (not (.Capabilities.APIVersions.Has "security.openshift.io/v1/SecurityContextConstraints")) -}}
{{- $wrong = append $wrong "openshift.enabled, but the cluster has no SecurityContextConstraints (security.openshift.io/v1): set openshift.enabled to false" -}}
{{- end -}}
{{- if and (not .Values.crds.enabled) (not (.Capabilities.APIVersions.Has "bpfleet.io/v1alpha1/BpfProgram")) -}}
{{- $wrong = append $wrong "crds.enabled is false, but the cluster has no BpfProgram (bpfleet.io/v1alpha1): install the CRDs first, or set crds.enabled to true" -}}
{{- end -}}
{{- end -}}
{{- $wrong | toJson -}}
{{- end }}

{{/* The disruption budget of a component that has, or may have, more than one pod. */}}
{{- define "hero.pdb" -}}
{{- $values := include "hero.values" . | fromYaml -}}
{{- $pods := $values.replicas -}}
{{- if $values.autoscaling.enabled }}{{ $pods = $values.autoscaling.min }}{{ end -}}
{{- if dig "keda" "enabled" false $values }}{{ $pods = $values.keda.max }}{{ end -}}
{{- if and $values.podDisruptionBudget.enabled (gt (int64 $pods) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
{{ include "hero.metadata" . }}
spec:
  maxUnavailable: {{ $values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "hero.selector" . | nindent 6 }}
{{ end -}}
{{- end -}}

{{/*
Scaling of a pool of runners on the lengths of its queues: normal, high and low of each script type. KEDA goes by
the longest.
*/}}
{{- define "hero.keda" -}}
{{- $values := include "hero.values" . | fromYaml -}}
{{- $redis := .ctx.Values.redis -}}
{{- $address := $redis.keda.address -}}
{{- if $redis.bundled.enabled }}{{ $address = printf "%s-redis.%s.svc:6379" (include "hero.fullname" .ctx) .ctx.Release.Namespace }}{{ end -}}
{{- if $redis.url }}{{ $address = (urlParse $redis.url).host }}{{ end -}}
{{- if dig "keda" "enabled" false $values }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
{{ include "hero.metadata" . }}
spec:
  scaleTargetRef:
    name: {{ include "hero.name" . }}
  pollingInterval: {{ $values.keda.pollingIntervalS | int64 }}
  cooldownPeriod: {{ $values.keda.cooldownS | int64 }}
  minReplicaCount: {{ $values.keda.min | int64 }}
  maxReplicaCount: {{ $values.keda.max | int64 }}
  triggers:
    {{- range $type := $values.scriptTypes }}
    {{- range $priority := list "" ":high" ":low" }}
    - type: redis
      metadata:
        address: {{ $address }}
        listName: hero:q:work:type:{{ lower $type }}{{ $priority }}
        listLength: {{ $values.keda.listLength | int64 | quote }}
      {{- if or $redis.bundled.enabled $redis.keda.passwordKey }}
      authenticationRef:
        name: {{ include "hero.name" $ }}
      {{- end }}
    {{- end }}
    {{- end }}
{{- if or $redis.bundled.enabled $redis.keda.passwordKey }}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
{{ include "hero.metadata" . }}
spec:
  secretTargetRef:
    - parameter: password
      name: {{ include "hero.redisSecret" .ctx }}
      key: {{ $redis.keda.passwordKey | default "password" }}
{{- end }}
{{ end -}}
{{- end -}}

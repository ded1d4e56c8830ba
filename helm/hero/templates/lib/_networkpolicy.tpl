{{/* Who may call whom, and on which port: the one table of edges. `runner` stands for every pool. */}}
{{- define "hero.edges" -}}
- {from: gateway, to: supervisor, port: 8081}
- {from: gateway, to: explorer, port: 8083}
- {from: gateway, to: mycelium-bridge, port: 8084}
- {from: gateway, to: msgbus-relay, port: 8085}
- {from: mycelium-bridge, to: supervisor, port: 8081}
- {from: mycelium-bridge, to: redis, port: 6379}
- {from: msgbus-relay, to: supervisor, port: 8081}
- {from: msgbus-relay, to: explorer, port: 9002}
- {from: msgbus-relay, to: redis, port: 6379}
- {from: supervisor, to: explorer, port: 8083}
- {from: supervisor, to: redis, port: 6379}
- {from: explorer, to: supervisor, port: 8081}
- {from: explorer, to: mycelium-bridge, port: 8084}
- {from: explorer, to: redis, port: 6379}
- {from: runner, to: redis, port: 6379}
- {from: launcher, to: redis, port: 6379}
{{- end -}}

{{/* Pods of the release by the name in an edge. Takes ctx and name; nothing when none of them is on. */}}
{{- define "hero.peer" -}}
{{- $on := include "hero.components" .ctx | fromYamlArray -}}
{{- $wanted := list -}}
{{- range $component := $on -}}
{{- if or (eq $component $.name) (and (eq $.name "runner") (hasPrefix "runner-" $component)) -}}
{{- $wanted = append $wanted $component -}}
{{- end -}}
{{- end -}}
{{- if and (eq .name "redis") .ctx.Values.redis.bundled.enabled -}}{{- $wanted = list "redis" -}}{{- end -}}
{{- if $wanted -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ .ctx.Chart.Name }}
      app.kubernetes.io/instance: {{ .ctx.Release.Name }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: {{ toJson $wanted }}}
{{- end -}}
{{- end -}}

{{/* CIDRs as peers; none at all is any address. */}}
{{- define "hero.cidrs" -}}
{{- range . }}
- ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- end -}}

{{/* The policy of a component. */}}
{{- define "hero.networkpolicy" -}}
{{- if .ctx.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
{{ include "hero.metadata" . }}
spec:
  podSelector:
    matchLabels:
      {{- include "hero.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- include "hero.ingressRules" . | trim | nindent 4 }}
  egress:
    {{- include "hero.egressRules" . | trim | nindent 4 }}
{{ end -}}
{{- end -}}

{{- define "hero.ingressRules" -}}
{{- $policy := .ctx.Values.networkPolicy -}}
{{- $role := ternary "runner" .component (hasPrefix "runner-" .component) -}}
{{- range $edge := include "hero.edges" .ctx | fromYamlArray }}
{{- if eq $edge.to $role }}
{{- with include "hero.peer" (dict "ctx" $.ctx "name" $edge.from) }}
- from:
    {{- . | nindent 4 }}
  ports: [{protocol: TCP, port: {{ $edge.port }}}]
{{- end }}
{{- end }}
{{- end }}
{{- if eq .component (include "hero.front" .ctx) }}
- ports: [{protocol: TCP, port: http}]
  {{- with $policy.gatewayFrom }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if eq .component "redis" }}
{{- $kedas := false }}
{{- range $component := include "hero.components" .ctx | fromYamlArray }}
{{- if dig "keda" "enabled" false (include "hero.values" (dict "ctx" $.ctx "component" $component) | fromYaml) }}{{ $kedas = true }}{{ end }}
{{- end }}
{{- if $kedas }}
- from:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ $policy.kedaNamespace }}}
  ports: [{protocol: TCP, port: 6379}]
{{- end }}
{{- else }}
- ports: [{protocol: TCP, port: admin}]
  from:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ $policy.prometheusNamespace }}}
    {{- include "hero.cidrs" $policy.kubeletCidrs | indent 4 }}
{{- end }}
{{- if eq .component "explorer" }}
{{- if .ctx.Values.explorer.tcp.enabled }}
- ports: [{protocol: TCP, port: nodes}]
  {{- with .ctx.Values.explorer.tcp.nodeCidrs }}
  from:
    {{- include "hero.cidrs" . | indent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- if eq .component "msgbus-relay" }}
- ports: [{protocol: TCP, port: http}]
  {{- with .ctx.Values.msgbusRelay.peerCidrs }}
  from:
    {{- include "hero.cidrs" . | indent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "hero.egressRules" -}}
{{- $root := .ctx.Values -}}
{{- $policy := $root.networkPolicy -}}
{{- $role := ternary "runner" .component (hasPrefix "runner-" .component) -}}
{{- if ne .component "redis" }}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  {{- with $policy.dns.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- range $edge := include "hero.edges" .ctx | fromYamlArray }}
{{- if eq $edge.from $role }}
{{- $peers := include "hero.peer" (dict "ctx" $.ctx "name" $edge.to) }}
{{- if $peers }}
- to:
    {{- $peers | nindent 4 }}
  ports: [{protocol: TCP, port: {{ $edge.port }}}]
{{- else if eq $edge.to "redis" }}
- ports: [{protocol: TCP, port: {{ $policy.redis.port | int64 }}}]
  {{- with $policy.redis.cidrs }}
  to:
    {{- include "hero.cidrs" . | indent 4 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with $root.telemetry.otlpEndpoint }}
- ports: [{protocol: TCP, port: {{ (urlParse .).host | splitList ":" | last | int64 }}}]
  {{- with $policy.otlp.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if eq .component "explorer" }}
{{- with $root.explorer.tcp.nodeCidrs }}
- to:
    {{- include "hero.cidrs" . | indent 4 }}
{{- end }}
{{- end }}
{{- if eq .component "mycelium-bridge" }}
- ports: [{protocol: TCP, port: {{ $root.myceliumBridge.daemonPort | int64 }}}]
  {{- with $root.myceliumBridge.daemonCidrs }}
  to:
    {{- include "hero.cidrs" . | indent 4 }}
  {{- end }}
{{- end }}
{{- if eq .component "msgbus-relay" }}
- ports: [{protocol: TCP, port: {{ $root.msgbusRelay.peerPort | int64 }}}, {protocol: TCP, port: 443}, {protocol: TCP, port: 80}]
  {{- with $root.msgbusRelay.peerCidrs }}
  to:
    {{- include "hero.cidrs" . | indent 4 }}
  {{- end }}
{{- end }}
{{- with $policy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- else }}
[]
{{- end }}
{{- end -}}

{{/*
A value as TOML on one line. Numbers in values are floating point to Helm, and TOML tells 5 from 5.0, so a whole
number is written as one.
*/}}
{{- define "hero.toml" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $key := keys . | sortAlpha -}}{{ if $index }}, {{ else }} {{ end }}{{ toJson $key }} = {{ include "hero.toml" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{- range $index, $item := . -}}{{ if $index }}, {{ end }}{{ include "hero.toml" $item }}{{ end }}]
{{- else if kindIs "string" . -}}
{{ toJson . }}
{{- else if kindIs "float64" . -}}
{{ if eq (floor .) . }}{{ printf "%.0f" . }}{{ else }}{{ printf "%v" . }}{{ end }}
{{- else -}}
{{ toString . }}
{{- end -}}
{{- end -}}

{{/* Every setting of a component on a line of its own: what the chart makes, and `config` over it. */}}
{{- define "hero.configFile" -}}
{{- $values := include "hero.values" . | fromYaml -}}
{{- $made := include "hero.config" . | fromYaml -}}
{{- $config := mergeOverwrite $made ($values.config | default dict) -}}
{{- range $key := keys $config | sortAlpha }}
{{- if kindIs "map" (get $config $key) }}{{ continue }}{{ end }}
{{ $key }} = {{ include "hero.toml" (get $config $key) }}
{{- end }}
{{- range $key := keys $config | sortAlpha }}
{{- if not (kindIs "map" (get $config $key)) }}{{ continue }}{{ end }}

[{{ $key }}]
{{- range $name := keys (get $config $key) | sortAlpha }}
{{ $name }} = {{ include "hero.toml" (get (get $config $key) $name) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What the chart sets for every service, and for each. As YAML; secrets are named by their files. */}}
{{- define "hero.config" -}}
{{- $values := include "hero.values" . | fromYaml -}}
{{- $facts := include "hero.facts" . | fromYaml -}}
{{- $root := .ctx.Values -}}
{{- $listen := printf "tcp://0.0.0.0:%v" (default $facts.ports.http $facts.ports.grpc) -}}
admin:
  listen: tcp://0.0.0.0:{{ $facts.ports.admin }}
drain:
  drain_delay_ms: {{ $values.drain.delayMs | int64 }}
  grace_ms: {{ $values.drain.graceMs | int64 }}
telemetry:
  log_level: {{ $root.global.logLevel | quote }}
  log_format: {{ $root.global.logFormat | quote }}
  sample_ratio: {{ $root.telemetry.sampleRatio }}
  {{- with $root.telemetry.otlpEndpoint }}
  otlp_endpoint: {{ . | quote }}
  {{- end }}
  {{- with $root.telemetry.environment }}
  environment: {{ . | quote }}
  {{- end }}
  {{- with $root.telemetry.resourceAttributes }}
  resource_attributes:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- if and $facts.redis (ne $facts.service "launcher") }}
redis:
  url: file:/etc/hero/redis/url
{{- end }}
{{- if and $facts.auth $root.auth.enabled }}
secrets:
  {{- range $scope, $key := include "hero.authKeys" .ctx | fromYaml }}
  {{ $scope }}: ["file:/etc/hero/auth/{{ $scope }}"]
  {{- end }}
{{- end }}
{{- if eq $facts.service "gateway" }}
listen: {{ $listen }}
supervisor: tcp://{{ include "hero.name" (dict "ctx" .ctx "component" "supervisor") }}:8081
insecure_no_auth: {{ not $root.auth.enabled }}
channel: {token: "file:/etc/hero/internal/token"}
{{- else if eq $facts.service "launcher" }}
host: 0.0.0.0
port: 8080
redis_url: file:/etc/hero/redis/url
insecure_no_auth: {{ not $root.auth.enabled }}
enable_auth: {{ $root.auth.enabled }}
{{- with $root.circles }}
public_keys: {{ toJson . }}
{{- end }}
{{- else if eq $facts.service "supervisor" }}
listen: {{ $listen }}
grpc: {max_connection_age_ms: 300000, token: "file:/etc/hero/internal/token"}
{{- with $root.circles }}
circles: {{ toJson . }}
{{- end }}
{{- else if eq $facts.service "runner" }}
script_types: {{ $values.scriptTypes | toJson }}
{{- else if eq $facts.service "explorer" }}
listen: {{ $listen }}
grpc: {token: "file:/etc/hero/internal/token"}
{{- if $values.tcp.enabled }}
tcp: tcp://0.0.0.0:{{ $values.tcp.port | int64 }}
{{- end }}
{{- else if eq $facts.service "mycelium-bridge" }}
listen: {{ $listen }}
channel: {token: "file:/etc/hero/internal/token"}
grpc: {token: "file:/etc/hero/internal/token"}
{{- else if eq $facts.service "msgbus-relay" }}
listen: {{ $listen }}
grpc_listen: tcp://0.0.0.0:8085
grpc: {token: "file:/etc/hero/internal/token"}
twin: {{ $values.twin | int64 }}
substrate: {{ $values.substrate | quote }}
mnemonics: file:/etc/hero/msgbus/mnemonics
rpc: {supervisor: "tcp://{{ include "hero.name" (dict "ctx" .ctx "component" "supervisor") }}:8081", channel: {token: "file:/etc/hero/internal/token"}}
{{- end }}
{{- end -}}

{{/* The settings of the bundled Redis. */}}
{{- define "hero.redisConf" -}}
# Jobs must outlive it, and none may be dropped: see docs/operations.md.
dir /data
appendonly yes
appendfsync everysec
save ""
maxmemory {{ .maxmemory }}
maxmemory-policy noeviction
include /etc/hero/redis/auth.conf
{{- with .extraConfig }}
{{ . | trim }}
{{- end }}
{{- end -}}

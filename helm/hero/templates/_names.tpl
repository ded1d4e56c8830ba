{{/* The name of everything in the release. */}}
{{- define "hero.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of a component's resources. Takes ctx and component. */}}
{{- define "hero.name" -}}
{{- printf "%s-%s" (include "hero.fullname" .ctx) .component -}}
{{- end -}}

{{/*
The section of the values that a component belongs to. The one place where names are mapped: resources are
kebab-case, values are camelCase, and `runner-<pool>` is a pool of `runner`.
*/}}
{{- define "hero.sectionName" -}}
{{- $sections := dict "gateway" "gateway" "supervisor" "supervisor" "explorer" "explorer" "mycelium-bridge" "myceliumBridge" "msgbus-relay" "msgbusRelay" "launcher" "launcher" -}}
{{- if hasPrefix "runner-" .component -}}
runner
{{- else -}}
{{- required (printf "no section of the values belongs to the component %s" .component) (get $sections .component) -}}
{{- end -}}
{{- end -}}

{{/* The values of a component: its section, for a pool the pool's own, over the defaults. As YAML. */}}
{{- define "hero.values" -}}
{{- $section := get .ctx.Values (include "hero.sectionName" .) -}}
{{- $merged := mergeOverwrite (deepCopy .ctx.Values.defaults) (omit (deepCopy $section) "pools") -}}
{{- if hasPrefix "runner-" .component -}}
{{- $pool := get $section.pools (trimPrefix "runner-" .component) -}}
{{- $merged = mergeOverwrite $merged (deepCopy ($pool | default dict)) -}}
{{- end -}}
{{- toYaml $merged -}}
{{- end -}}

{{/* What a component is on the wire: the service that it is, its ports by name, what it needs mounted. As YAML. */}}
{{- define "hero.facts" -}}
{{- $facts := dict
  "gateway" (dict "service" "gateway" "ports" (dict "http" 8080 "admin" 9080) "internal" true)
  "supervisor" (dict "service" "supervisor" "ports" (dict "grpc" 8081 "admin" 9081) "redis" true "auth" true "internal" true)
  "explorer" (dict "service" "explorer" "ports" (dict "grpc" 8083 "admin" 9083) "redis" true "internal" true)
  "mycelium-bridge" (dict "service" "mycelium-bridge" "ports" (dict "grpc" 8084 "admin" 9084) "redis" true "internal" true)
  "msgbus-relay" (dict "service" "msgbus-relay" "ports" (dict "grpc" 8085 "http" 8051 "admin" 9085) "redis" true "internal" true)
  "launcher" (dict "service" "launcher" "ports" (dict "http" 8080 "admin" 9080) "redis" true "auth" true)
-}}
{{- if hasPrefix "runner-" .component -}}
{{- dict "service" "runner" "ports" (dict "admin" 9082) "redis" true | toYaml -}}
{{- else -}}
{{- get $facts .component | toYaml -}}
{{- end -}}
{{- end -}}

{{/* The secret with the token by which the services of the release prove themselves to each other. */}}
{{- define "hero.internalSecret" -}}
{{- printf "%s-internal" (include "hero.fullname" .) -}}
{{- end -}}

{{/* The components that are on, as a YAML list. */}}
{{- define "hero.components" -}}
{{- $on := list -}}
{{- if .Values.launcher.enabled -}}
{{- $on = append $on "launcher" -}}
{{- else -}}
{{- range $component := list "gateway" "supervisor" "explorer" "mycelium-bridge" "msgbus-relay" -}}
{{- if (get $.Values (include "hero.sectionName" (dict "component" $component))).enabled -}}
{{- $on = append $on $component -}}
{{- end -}}
{{- end -}}
{{- if .Values.runner.enabled -}}
{{- range $pool := keys .Values.runner.pools | sortAlpha -}}
{{- $on = append $on (printf "runner-%s" $pool) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $on -}}
{{- end -}}

{{/* The component that serves JSON-RPC. */}}
{{- define "hero.front" -}}
{{- ternary "launcher" "gateway" .Values.launcher.enabled -}}
{{- end -}}

{{- define "hero.serviceAccountName" -}}
{{- if .ctx.Values.serviceAccount.create -}}
{{- include "hero.name" (dict "ctx" .ctx "component" (ternary "runner" .component (hasPrefix "runner-" .component))) -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "hero.authSecret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-auth" (include "hero.fullname" .)) -}}
{{- end -}}

{{/* The keys of the auth secret by scope, those that are there. As YAML. */}}
{{- define "hero.authKeys" -}}
{{- $keys := dict -}}
{{- if .Values.auth.existingSecret -}}
{{- range $scope, $key := .Values.auth.existingSecretKeys -}}
{{- if $key -}}{{- $_ := set $keys $scope $key -}}{{- end -}}
{{- end -}}
{{- else -}}
{{- range $scope, $secret := .Values.auth.keys -}}
{{- if $secret -}}{{- $_ := set $keys $scope $scope -}}{{- end -}}
{{- end -}}
{{- if not $keys -}}{{- $_ := set $keys "admin" "admin" -}}{{- end -}}
{{- end -}}
{{- toYaml $keys -}}
{{- end -}}

{{- define "hero.redisSecret" -}}
{{- .Values.redis.existingSecret | default (printf "%s-redis" (include "hero.fullname" .)) -}}
{{- end -}}

{{/* The key of that secret for a service: a bundled Redis has a user for each. */}}
{{- define "hero.redisSecretKey" -}}
{{- $redis := .ctx.Values.redis -}}
{{- if $redis.existingSecret -}}
{{- get $redis.existingSecretKeys .service | default $redis.existingSecretKey -}}
{{- else if or $redis.url (eq .service "launcher") -}}
url
{{- else -}}
{{- printf "url-%s" .service -}}
{{- end -}}
{{- end -}}

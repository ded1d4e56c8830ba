{{/* The reference of an image. Takes ctx, name and a section with registry, tag and digest. A digest wins. */}}
{{- define "hero.reference" -}}
{{- $registry := .section.registry | default .ctx.Values.global.imageRegistry -}}
{{- $name := ternary .name (printf "%s/%s" $registry .name) (eq $registry "") -}}
{{- if .section.digest -}}
{{- printf "%s@%s" $name .section.digest -}}
{{- else -}}
{{- printf "%s:%s" $name .section.tag -}}
{{- end -}}
{{- end -}}

{{/* The image of one of our services. Takes ctx, name (`gateway`) and digest. */}}
{{- define "hero.image" -}}
{{- $image := .ctx.Values.image -}}
{{- $section := dict "registry" (.ctx.Values.global.imageRegistry | default $image.registry) "tag" ($image.tag | default .ctx.Chart.AppVersion) "digest" .digest -}}
{{- include "hero.reference" (dict "ctx" .ctx "name" (printf "%s-%s" $image.repository .name) "section" $section) -}}
{{- end -}}

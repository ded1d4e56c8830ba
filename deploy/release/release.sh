#!/usr/bin/env bash
# Lays out a release: one tarball with binaries, examples of their settings, systemd units and docs; a bill of
# materials; checksums. The binaries are built already. release.sh <folder of binaries> <folder for the release>
set -euo pipefail
cd "$(dirname "$0")/../.."

binaries=$1 out=$2
version=$(cargo metadata --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["packages"][0]["version"])')
name=hero-$version-$(uname -m)-linux
root=$out/$name
rm -rf "$out"
# Laid out as it is installed: tar -C / --strip-components=1 --no-overwrite-dir -xzf ...
bin=$root/usr/bin config=$root/usr/share/hero/config docs=$root/usr/share/doc/hero units=$root/usr/lib/systemd/system
mkdir -p "$bin" "$config" "$docs" "$units"

for service in services/*/; do
  service=$(basename "$service")
  strip -o "$bin/hero-$service" "$binaries/$service"
  cp "services/$service/config.example.toml" "$config/$service.toml"
  # As static as glibc allows: nothing but its own parts is looked for at the start.
  if ldd "$bin/hero-$service" | grep -vE 'linux-vdso|libc\.so|libm\.so|libgcc_s\.so|ld-linux'; then
    echo "hero-$service needs a library that a bare machine may not have" >&2
    exit 1
  fi
done
# The name that the unit and the programs of the bus know.
ln -s hero-msgbus-relay "$bin/msgbusd"
if [ -d cli ]; then strip -o "$bin/hero" "$binaries/hero"; fi
cp deploy/systemd/*.service "$units/"
cp -r docs/*.md docs/errors LICENSE README.md "$docs/"
python3 deploy/release/sbom.py "$version" >"$out/$name.sbom.json"

# The same input gives the same bytes.
tar -C "$out" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" -c "$name" |
  gzip -n >"$out/$name.tar.gz"
rm -rf "$root"
(cd "$out" && sha256sum "$name.tar.gz" "$name.sbom.json" >SHA256SUMS)
ls -l "$out"

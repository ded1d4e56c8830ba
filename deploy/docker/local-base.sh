#!/usr/bin/env bash
# Makes the base images that the Dockerfile and the compose file name, without any image registry: from Debian's
# packages alone. For tests and for sites without a way out. Needs root, debootstrap, and a Debian mirror (MIRROR).
#
#   hero-local/base     C library, certificates, time zones: for the services
#   hero-local/python   Debian with python3 and bubblewrap: for the runner of Python scripts
#   hero-local/redis    Debian with redis-server
set -euo pipefail

SUITE=${SUITE:-bookworm}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
DOCKER=${DOCKER:-docker}
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

have() { "$DOCKER" image inspect "$1:$SUITE" >/dev/null 2>&1; }

# A user without a name confuses some programs; this one is distroless' and the chart's.
add_user() {
  echo "hero:x:65532:65532::/tmp:/usr/sbin/nologin" >>"$1/etc/passwd"
  echo "hero:x:65532:" >>"$1/etc/group"
}

import() { # root, name, user
  tar -C "$1" --sort=name --mtime=@0 -c . | "$DOCKER" import \
    --change "USER ${3:-65532:65532}" --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    - "$2:$SUITE" >/dev/null
  echo "made $2:$SUITE"
}

slim() {
  rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,man,locale,info}/* "$1"/var/log/*
}

debian() { # root, packages...: a Debian with these packages, without what nobody reads in a container
  local root=$1
  shift
  cp -a "$WORK/debian" "$root"
  chroot "$root" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  slim "$root"
  add_user "$root"
}

if have hero-local/base && have hero-local/python && have hero-local/redis; then
  echo "the base images are there"
  exit 0
fi

debootstrap --variant=minbase --include=ca-certificates,tzdata "$SUITE" "$WORK/debian" "$MIRROR" >"$WORK/log" 2>&1 ||
  { tail -20 "$WORK/log" >&2; exit 1; }

mkdir -p "$WORK/base/etc" "$WORK/base/tmp"
chmod 1777 "$WORK/base/tmp"
for package in libc6 libgcc-s1 ca-certificates tzdata; do
  dpkg-deb -x "$WORK"/debian/var/cache/apt/archives/"$package"_*.deb "$WORK/base"
done
mkdir -p "$WORK/base/etc/ssl/certs"
cp "$WORK/debian/etc/ssl/certs/ca-certificates.crt" "$WORK/base/etc/ssl/certs/"
echo "root:x:0:0::/root:/usr/sbin/nologin" >"$WORK/base/etc/passwd"
echo "root:x:0:" >"$WORK/base/etc/group"
add_user "$WORK/base"
rm -rf "$WORK"/base/usr/share/{doc,man,locale,lintian,bug}
import "$WORK/base" hero-local/base

debian "$WORK/python" python3 bubblewrap
import "$WORK/python" hero-local/python
rm -rf "$WORK/python"

debian "$WORK/redis" redis-server
mkdir -p "$WORK/redis/data"
# The number of the user in the official image.
chown 999:999 "$WORK/redis/data"
import "$WORK/redis" hero-local/redis 999:999

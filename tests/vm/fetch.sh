#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Debian 12 packages for virtual machines: downloads, unpacks beside the system and caches; installs nothing, needs no root
# and leaves the system's own package lists and architectures alone.
#   tests/vm/fetch.sh ARCH PACKAGE            prints the directory with the package's files
#   tests/vm/fetch.sh ARCH PACKAGE --depends  … of the first linux-image-<release> that the (meta) package depends on
# SONDE_CACHE (~/.cache/sonde) is where; SONDE_DEBIAN_MIRROR and SONDE_DEBIAN_SECURITY replace the archive's addresses.
# Package lists are renewed once a day; without a network what is cached serves.
set -euo pipefail
arch=$1 package=$2 follow=${3:-}
cache=${SONDE_CACHE:-$HOME/.cache/sonde}/vm
apt=$cache/apt
mkdir -p "$apt/none" "$apt/lists/partial" "$apt/archives/partial" "$cache/unpacked"
exec 9>"$cache/lock"
flock 9

# The mirror that the system itself uses, if it is a Debian.
system_mirror() {
  cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    grep -oE '^[^#]*https?://[^ ]+/'"$1"'/?( |$)' | grep -oE 'https?://[^ ]+' | head -n 1
}
mirror=${SONDE_DEBIAN_MIRROR:-$(system_mirror debian || true)}
security=${SONDE_DEBIAN_SECURITY:-$(system_mirror debian-security || true)}
mirror=${mirror:-http://deb.debian.org/debian}
security=${security:-http://deb.debian.org/debian-security}
keys=/usr/share/keyrings/debian-archive-keyring.gpg
cat >"$apt/sources.list" <<LIST
deb [signed-by=$keys] $mirror bookworm main
deb [signed-by=$keys] $mirror bookworm-updates main
deb [signed-by=$keys] $security bookworm-security main
LIST
: >"$apt/status"
cat >"$apt/apt.conf" <<CONF
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$apt";
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "$apt/none";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$apt/none";
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
CONF
export APT_CONFIG=$apt/apt.conf

if [ -z "$(find "$apt/renewed" -mtime -1 2>/dev/null)" ]; then
  if apt-get update -qq >"$apt/update.log" 2>&1; then
    touch "$apt/renewed"
  else
    echo "fetch: the package lists could not be renewed, what is cached serves: $(tail -n 1 "$apt/update.log")" >&2
  fi
fi

if [ "$follow" = --depends ]; then
  package=$(apt-cache depends "$package:$arch" | sed -n 's/.*Depends: \(linux-image-[0-9][^: ]*\).*/\1/p' | head -n 1)
  [ -n "$package" ] || { echo "fetch: no kernel found behind $2:$arch" >&2; exit 1; }
fi
version=$(apt-cache show --no-all-versions "$package:$arch" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1)
[ -n "$version" ] || { echo "fetch: the archive has no $package:$arch" >&2; exit 1; }

directory=$cache/unpacked/${package}_${version//:/_}_$arch
if [ ! -d "$directory" ]; then
  echo "fetch: $package $version ($arch)" >&2
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get download -qq "$package:$arch=$version" >&2)
  mkdir "$work/files"
  dpkg-deb -x "$work"/*.deb "$work/files"
  chmod 755 "$work/files"
  mv "$work/files" "$directory"
fi
echo "$directory"

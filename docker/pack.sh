#!/bin/sh
# pack.sh IMAGE INSTALLED: makes the root directory of an image from what cmake has installed, the
# shared libraries that its programs need, and what those libraries read. For a build stage of Debian.
set -eu
image=$1 installed=$2

# The layout of Debian, so that a library is where the loader looks without a cache.
mkdir -p "$image/usr/bin" "$image/usr/lib" "$image/usr/lib64" "$image/usr/share/doc" \
    "$image/etc/howdah" "$image/etc/ssl/certs" "$image/run/howdah" "$image/tmp" "$image/var/lib/dpkg/status.d"
ln -s usr/bin "$image/bin"
ln -s usr/lib "$image/lib"
ln -s usr/lib64 "$image/lib64"
chmod 1777 "$image/tmp" "$image/run/howdah"

cp -a "$installed/usr/bin/." "$image/usr/bin/"
cp -a "$installed/usr/lib/howdah" "$image/usr/lib/"
mkdir -p "$image/usr/share/doc/howdah"
cp "$installed/usr/share/doc/howdah/LICENSE" "$image/usr/share/doc/howdah/"

# Both "name => /path (address)" and "/path (address)", which is the loader's own line.
ldd "$installed"/usr/bin/* | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' |
    sort -u >/tmp/libraries
[ -s /tmp/libraries ] || { echo "pack.sh: the programs in $installed need no library: is ldd broken?" >&2; exit 1; }
while read -r library; do
    cp -L --parents "$library" "$image"
    # A merged /usr: dpkg knows some files by the name they had before.
    package=$(dpkg-query -S "$(realpath "$library")" 2>/dev/null || dpkg-query -S "$library")
    echo "${package%%:*}"
done </tmp/libraries | sort -u >/tmp/packages
echo ca-certificates >>/tmp/packages

# Whose they are, for scanners and for the licences' sake.
while read -r package; do
    dpkg-query -s "$package" >"$image/var/lib/dpkg/status.d/$package"
    mkdir -p "$image/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$image/usr/share/doc/$package/"
done </tmp/packages

cp -L /etc/ssl/certs/ca-certificates.crt "$image/etc/ssl/certs/"
cp /etc/os-release "$image/etc/"
echo 'hosts: files dns' >"$image/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/sbin/nologin\npostgres:x:999:999:PostgreSQL:/:/sbin/nologin\n' >"$image/etc/passwd"
printf 'root:x:0:\npostgres:x:999:\n' >"$image/etc/group"
# Columns are counted in characters, whatever the language.
mkdir -p "$image/usr/lib/locale"
cp -a /usr/lib/locale/C.utf8 "$image/usr/lib/locale/"

# They must run there, with nothing of this stage in sight.
for program in bin/howdah bin/howdahctl lib/howdah/howdah-warden; do
    chroot "$image" "/usr/$program" --version ||
        { echo "pack.sh: $program does not run in the image" >&2; exit 1; }
done

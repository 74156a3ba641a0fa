#!/usr/bin/env bash
# Builds the images of the lab from Debian packages and this source tree, without any registry, and
# leaves them as archives for containerd: ${HOWDAH_LAB:-/var/cache/howdah-lab}/images/NAME.tar.
#
#   images.sh [NAME...]     base, pause, postgres, musl, howdah, howdah-postgres,
#                         patroni; all if none is named
#
# What has not changed is not built again. As root; a builder's storage and mounts of its own, so that nobody
# else's images are seen or touched, and a killed build leaves nothing mounted.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || fail "images are built as root"
need_packages buildah:buildah runc:runc debootstrap:debootstrap busybox:busybox-static musl-gcc:musl-tools
mkdir -p "$images"
store=(--root "$images/storage" --runroot "$images/run")
build=(nice buildah "${store[@]}" bud -q --isolation chroot --network host --layers --pull-never)

mirror() { # this machine's own
    local f
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
        if [ -e "$f" ]; then sed -nE 's/^(URIs:|deb )(.* )?(https?:\/\/[^ "]+\/debian)\/?( .*)?$/\3/p' "$f"; fi
    done | sed -n 1p
}

make_base() { # debian:bookworm-slim, which has its package sources from where this machine has its own
    local root=$images/base.half from
    from=$(mirror)
    [ -n "$from" ] || fail "no mirror of Debian in /etc/apt: cannot make the base image"
    rm -rf --one-file-system "$root"
    # In a mount namespace, so that a killed debootstrap leaves no /proc mounted.
    nice unshare --mount --propagation private debootstrap --variant=minbase bookworm "$root" "$from" >"$images/base.log"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/doc/*/changelog* \
        "$root"/usr/share/man/* "$root"/usr/share/locale/* "$root"/var/log/*.log
    local f c
    for f in /etc/apt/apt.conf.d/*; do
        if [ -e "$f" ]; then sed -nE '/^Acquire::https?::Proxy/Ip' "$f"; fi
    done >"$root/etc/apt/apt.conf.d/proxy"
    c=$(buildah "${store[@]}" from scratch)
    tar -C "$root" -cf "$root.tar" .
    buildah "${store[@]}" add -q "$c" "$root.tar" / >/dev/null
    buildah "${store[@]}" config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$c"
    buildah "${store[@]}" commit -q --rm "$c" docker.io/library/debian:bookworm-slim >/dev/null
    rm -rf --one-file-system "$root" "$root.tar" "$images/base.log"
}

make_pause() { # keeps a pod's namespaces open until told to stop
    local dir=$images/pause.half
    mkdir -p "$dir"
    printf '%s\n' '#include <signal.h>' '#include <unistd.h>' \
        'static void stop(int s) { (void)s; _exit(0); }' \
        'int main(void) { signal(SIGTERM, stop); signal(SIGINT, stop); for (;;) pause(); }' >"$dir/pause.c"
    musl-gcc -static -Os -o "$dir/pause" "$dir/pause.c"
    printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$dir/Dockerfile"
    "${build[@]}" -t localhost/pause:lab "$dir" >/dev/null
    rm -rf "$dir"
}

make_postgres() {
    "${build[@]}" -t localhost/postgres:lab -f "$lab_dir/images/Dockerfile.debian-postgres" "$lab_dir/images" >/dev/null
}

make_patroni() {
    "${build[@]}" -t localhost/patroni:lab -f "$lab_dir/images/Dockerfile.patroni" "$lab_dir/images" >/dev/null
}

make_musl() { # its postgres is the one the warden's unit tests have
    local dir=$images/musl.half name
    rm -rf "$dir"
    mkdir -p "$dir"/root/{bin,sbin,usr/bin,usr/sbin,usr/local/bin,etc,tmp,proc,dev,run,var/lib/postgresql/data,var/run/postgresql}
    cp "$(command -v busybox)" "$dir/root/bin/busybox"
    for name in $("$dir/root/bin/busybox" --list); do
        [ "$name" = busybox ] || ln -s /bin/busybox "$dir/root/bin/$name"
    done
    musl-gcc -static -Os -std=c17 -D_GNU_SOURCE -I"$source_dir" -o "$dir/root/usr/local/bin/postgres" \
        "$source_dir/tests/unit/test_warden_postgres.c"
    printf 'root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70:Linux User,,,:/var/lib/postgresql:/bin/sh\n' >"$dir/root/etc/passwd"
    printf 'root:x:0:\npostgres:x:70:\n' >"$dir/root/etc/group"
    chown -R 70:70 "$dir/root/var/lib/postgresql" "$dir/root/var/run/postgresql"
    chmod 1777 "$dir/root/tmp" "$dir/root/var/lib/postgresql/data"
    "${build[@]}" -t localhost/postgres-musl:lab -f "$lab_dir/images/Dockerfile.musl" "$dir" >/dev/null
    rm -rf "$dir"
}

make_howdah() {
    # A name for what takes longest, so that pruning keeps it.
    "${build[@]}" --ignorefile "$source_dir/docker/Dockerfile.dockerignore" --target tools \
        -t localhost/howdah-tools:lab -f "$source_dir/docker/Dockerfile" "$source_dir" >/dev/null
    "${build[@]}" --ignorefile "$source_dir/docker/Dockerfile.dockerignore" -t localhost/howdah:lab \
        -f "$source_dir/docker/Dockerfile" "$source_dir" >/dev/null
}

make_howdah-postgres() {
    "${build[@]}" --ignorefile "$source_dir/docker/Dockerfile.dockerignore" -t localhost/howdah-postgres:lab \
        --build-arg AGENT=localhost/howdah:lab --build-arg POSTGRES=localhost/postgres:lab \
        -f "$source_dir/docker/Dockerfile.postgres" "$source_dir" >/dev/null
}

agent_sources() {
    (cd "$source_dir" && find CMakeLists.txt CMakePresets.json agent api cmake common ctl dcs docker -type f \
        ! -name '*.md' ! -path 'docker/kubernetes/*' ! -path 'docker/openshift/*')
}

# name | tag | made from | files whose change makes it anew
needs() {
    case $1 in
    base) echo ;;
    pause) echo "$lab_dir/images.sh" ;;
    postgres) echo "$lab_dir"/images/{Dockerfile.debian-postgres,docker-entrypoint.sh} ;;
    patroni) echo "$lab_dir/images/Dockerfile.patroni" ;;
    musl) echo "$lab_dir/images/Dockerfile.musl" "$source_dir"/tests/unit/test_warden_postgres.c ;;
    howdah | howdah-postgres) agent_sources ;;
    esac
}

declare -A tags=([base]=docker.io/library/debian:bookworm-slim [pause]=localhost/pause:lab
    [postgres]=localhost/postgres:lab [musl]=localhost/postgres-musl:lab
    [howdah]=localhost/howdah:lab [howdah-postgres]=localhost/howdah-postgres:lab
    [patroni]=localhost/patroni:lab)
declare -A under=([postgres]=base [howdah]=base [howdah-postgres]="howdah postgres"
    [patroni]=postgres)
declare -A ensured=()

stamp() { # of what the image would be made from
    local before stamps=(/dev/null)
    for before in ${under[$1]:-}; do stamps+=("$images/$before.stamp"); done
    # shellcheck disable=SC2046 # words are wanted
    cd "$source_dir" && { sha256sum $(needs "$1") /dev/null | cut -c1-64; cat "${stamps[@]}"; } | sha256sum
}

fresh() {
    local before
    for before in ${under[$1]:-}; do fresh "$before" || return; done
    [ -e "$images/$1.stamp" ] && [ "$(cat "$images/$1.stamp")" = "$(stamp "$1")" ]
}

ensure() {
    local name=$1 before made_from
    [ -z "${ensured[$name]:-}" ] || return 0
    for before in ${under[$name]:-}; do ensure "$before"; done
    if ! fresh "$name"; then
        echo "image $name: building" >&2
        rm -f "$images/$name.stamp"
        made_from=$(stamp "$name") # of before: who edits meanwhile gets another build
        "make_$name"
        if [ "$name" != base ]; then
            rm -f "$images/$name.tar"
            buildah "${store[@]}" push -q "${tags[$name]}" "docker-archive:$images/$name.half.tar:${tags[$name]}"
            mv "$images/$name.half.tar" "$images/$name.tar"
        fi
        echo "$made_from" >"$images/$name.stamp"
        # What the one before was made of. If it stays, that costs room and nothing else.
        buildah "${store[@]}" rmi --prune >/dev/null || echo "image $name: its predecessor stays" >&2
    fi
    ensured[$name]=1
}

if [ $# = 0 ]; then set -- base pause postgres musl howdah howdah-postgres patroni; fi
stale=
for name in "$@"; do
    [ -n "${tags[$name]:-}" ] || fail "no image $name; there are: ${!tags[*]}"
    (fresh "$name") || stale=1
done
[ -n "$stale" ] || exit 0 # nobody has to wait who needs nothing
if [ -z "${HOWDAH_IMAGES_APART:-}" ]; then
    exec 9>"$images/.lock"
    flock 9
    HOWDAH_IMAGES_APART=1 exec unshare --mount --propagation private bash "$0" "$@"
fi
# The builder notes what it has seen below /var/lib, whatever storage it is given: here it sees a layer above.
mkdir -p "$images/var-lib"/{upper,work}
mount -t overlay -o "lowerdir=/var/lib,upperdir=$images/var-lib/upper,workdir=$images/var-lib/work" overlay /var/lib
buildah "${store[@]}" rm --all >/dev/null # builds that were interrupted; what they were made of could never be pruned
for name in "$@"; do ensure "$name"; done

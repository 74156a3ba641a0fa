#!/bin/sh
# howdahctl against the patronictl of Patroni 4.1: for the same content of a real etcd, list,
# topology, history, show-config and dsn must come out the same to the byte (docs/howdahctl.md).
#
# Patroni 4.1 lives in a chroot of Debian forky, made once (about 350 MB) and kept, from the mirror
# that this machine's own packages come from. Exits 77, which is "skipped", where that cannot be had:
# without root, debootstrap or etcd, or if the mirror does not answer.
set -u

cache=${HOWDAH_LAB:-/var/cache/howdah-lab}
root=$cache/forky
ours=${HOWDAH_BIN:?the directory of howdahctl}/howdahctl

skip()
{
    echo "skipped: $*"
    exit 77
}

[ "$(id -u)" = 0 ] || skip "needs root for the chroot"
for program in debootstrap etcd etcdctl; do
    command -v $program >/dev/null || skip "$program is not installed"
done

make_chroot()
{
    mirror=$(sed -n 's/^URIs: *\(http[^ ]*debian\)\/*$/\1/p; s/^deb .*\(http[^ ]*debian\)\/* .*/\1/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1)
    if [ -z "$mirror" ]; then
        echo "no mirror of Debian in /etc/apt/sources.list*: cannot make a chroot of Debian forky"
        exit 1
    fi
    half=$cache/forky.$$
    mkdir -p "$cache" || skip "cannot write $cache"
    if ! debootstrap --variant=minbase --include=patroni,python3-etcd forky "$half" \
        "$mirror" /usr/share/debootstrap/scripts/sid \
        >"$half.log" 2>&1; then
        tail -n 5 "$half.log"
        rm -rf --one-file-system "$half"
        skip "debootstrap of Debian forky failed"
    fi
    mv "$half" "$root" && rm -f "$half.log"
}
[ -x "$root/usr/bin/patronictl" ] || make_chroot

work=$(mktemp -d)
etcd_pid=
clean()
{
    [ -z "$etcd_pid" ] || kill "$etcd_pid" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work" "$root/root/howdah-interop.$$.yml"
}
trap clean EXIT
trap 'exit 1' INT TERM HUP

start_etcd()
{
    for try in 1 2 3 4 5; do
        port=$((20000 + ($$ * 7 + try * 131) % 20000))
        client=http://127.0.0.1:$port
        peer=http://127.0.0.1:$((port + 1))
        etcd --data-dir "$work/etcd.$try" --listen-client-urls "$client" \
            --advertise-client-urls "$client" --listen-peer-urls "$peer" \
            --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" \
            >"$work/etcd.log" 2>&1 &
        etcd_pid=$!
        for tenth in $(seq 100); do
            ETCDCTL_API=3 etcdctl --endpoints "$client" get x >/dev/null 2>&1 && return
            kill -0 "$etcd_pid" 2>/dev/null || break
            sleep 0.1
        done
        kill "$etcd_pid" 2>/dev/null
    done
    cat "$work/etcd.log"
    echo "etcd does not start"
    exit 1
}
start_etcd

# key value: below /service
put()
{
    ETCDCTL_API=3 etcdctl --endpoints "$client" put -- "/service/$1" "$2" >/dev/null || exit 1
}

# --- what is in the store: each cluster is there for the edges it has

put plain/initialize 7277694203142172922
put plain/config '{"ttl":30,"loop_wait":10}'
put plain/leader pg1
put plain/status '{"optime":67108960}'
put plain/history '[[1,50331744,"no recovery target specified","2026-01-02T03:04:05.678901+00:00","pg2"],[2,67108000,"x"]]'
put plain/members/pg1 '{"conn_url":"postgres://10.0.0.1:5432/postgres","api_url":"http://10.0.0.1:8008/patroni","state":"running","role":"primary","version":"4.1.4","xlog_location":67108960,"timeline":3}'
put plain/members/pg2 '{"conn_url":"postgres://10.0.0.2:5432/postgres","api_url":"http://10.0.0.2:8008/patroni","state":"running","role":"replica","replication_state":"streaming","xlog_location":67108960,"receive_lsn":67108960,"replay_lsn":65011712,"timeline":3}'

put full/initialize 7277694203142172922
put full/config '{"ttl":30,"synchronous_mode":true,"pause":true,"maximum_lag_on_failover":1048576,"postgresql":{"use_pg_rewind":true,"parameters":{"max_connections":100,"work_mem":"4MB","a":"on","b":"1.10","c":1.1,"d":null,"e":[1,"x y",{"k":"v: w"}],"f":"","g":"0644","h":"a\nb","i":"  lead"}}}'
put full/leader pg1
put full/status '{"optime":67108960,"slots":{"pg2":67108960}}'
put full/sync '{"leader":"pg1","sync_standby":"PG2","quorum":0}'
put full/failover '{"leader":"pg1","member":"pg2","scheduled_at":"2026-12-05T10:00:00+00:00"}'
put full/members/pg1 '{"conn_url":"postgres://10.0.0.1:5432/postgres","api_url":"http://10.0.0.1:8008/patroni","state":"running","role":"primary","xlog_location":67108960,"timeline":3}'
put full/members/pg2 '{"conn_url":"postgres://10.0.0.2:5432/postgres","state":"running","role":"replica","receive_lsn":67108960,"replay_lsn":65011712,"replication_state":"streaming","timeline":3,"tags":{"nofailover":false,"clonefrom":true,"dc":"eu"},"pending_restart":true,"pending_restart_reason":{"max_connections":{"old_value":"100","new_value":"200"},"shared_preload_libraries":{"old_value":"pg_stat_statements,auto_explain,pg_hint_plan","new_value":""}}}'
put full/members/pg3 '{"conn_url":"postgres://10.0.0.3:5433/postgres","state":"running","role":"replica","replication_state":"in archive recovery","xlog_location":33554432,"timeline":2,"tags":{"replicatefrom":"pg2","nosync":true},"scheduled_restart":{"schedule":"2026-12-01T10:00:00+00:00","postgres_version":"15.20","postmaster_start_time":"2026-01-01 00:00:00+00:00"}}'

# reasons of 49 to 51 characters, and beyond ASCII; empty and odd values
put reasons/initialize ''
put reasons/leader a
put reasons/members/a '{"conn_url":"postgres://h1/postgres","state":"running","role":"primary","timeline":1,"pending_restart":true,"pending_restart_reason":{"aaaaaaaaaaaaaaaaaaaaaaaaa":{"old_value":"1234567890","new_value":"1234567890"},"aaaaaaaaaaaaaaaaaaaaaaaaaa":{"old_value":"1234567890","new_value":"1234567890"},"aaaaaaaaaaaaaaaaaaaaaaaaaaa":{"old_value":"1234567890","new_value":"1234567890"}}}'
put reasons/members/b '{"conn_url":"postgres://h2/postgres","state":"running","pending_restart":true,"pending_restart_reason":{"x":{"old_value":"äöüäöüäöüäöüäöüäöüäöü","new_value":"äöüäöüäöüäöüäöüäöüäöüäöü"},"y":{"old_value":"","new_value":"?"}}}'
put reasons/members/c '{"conn_url":"postgres://h3/postgres","state":"running","pending_restart":false,"scheduled_restart":{"schedule":"2026-12-01T10:00:00+00:00"}}'
put reasons/members/d '{"conn_url":"postgres://h4/postgres","state":"running","pending_restart":true,"pending_restart_reason":{},"tags":{}}'

# no leader, and little else
put bare/members/z '{}'
put bare/members/y 'garbage'
put bare/members/x '{"conn_url":"postgres://10.0.0.1:5432/postgres"}'
put bare/members/w '{"conn_url":"postgres://[2001:db8::1]:5432/postgres","role":"replica","state":"start failed","timeline":0}'
put bare/members/v '{"conn_kwargs":{"host":"kw","port":5432},"state":"stopped"}'

# a standby cluster, and its leader's replication state
put standby/config '{"standby_cluster":{"host":"10.1.1.1","port":5432}}'
put standby/leader s1
put standby/status '{"optime":100663296}'
put standby/members/s1 '{"conn_url":"postgres://10.0.0.1:5432/postgres","state":"running","role":"standby_leader","replication_state":"streaming","receive_lsn":100663296,"replay_lsn":100663296,"timeline":4}'
put standby/members/s2 '{"conn_url":"postgres://10.0.0.2:5432/postgres","state":"running","role":"replica","replication_state":"streaming","receive_lsn":100663296,"replay_lsn":100000000,"timeline":4}'
put standby/members/s3 '{"conn_url":"postgres://10.0.0.3:5432/postgres","state":"creating replica","role":"uninitialized"}'

# quorum; a leader with a replication state left over; a leader that is no member elsewhere
put quorum/config '{"synchronous_mode":"quorum"}'
put quorum/leader q1
put quorum/sync '{"leader":"q1","sync_standby":"q2,q3","quorum":1}'
put quorum/members/q1 '{"conn_url":"postgres://10.0.0.1:5432/postgres","state":"running","role":"primary","replication_state":"streaming","timeline":4}'
put quorum/members/q2 '{"conn_url":"postgres://10.0.0.2:5432/postgres","state":"running","role":"replica"}'
put quorum/members/q3 '{"conn_url":"postgres://10.0.0.3:5432/postgres","state":"starting","role":"replica"}'
put quorum/members/q4 '{"conn_url":"postgres://10.0.0.4:5432/postgres","state":"running","role":"replica"}'

put ghost/leader nobody
put ghost/config '{"pause":true}'
put ghost/failover '{"member":"g1"}'
put ghost/members/g1 '{"conn_url":"postgres://10.0.0.1:5432/postgres","state":"running","role":"replica"}'
put ghost/members/g2 '{"conn_url":"postgres://10.0.0.2:5432/postgres","state":"running","role":"replica","tags":{"replicatefrom":"g1"}}'

# lags that lie between two mebibytes; members that publish one position only
put lags/leader l0
put lags/status '{"optime":1073741824}'
put lags/members/l0 '{"conn_url":"postgres://10.0.0.1:5432/postgres","state":"running","role":"primary"}'
put lags/members/l1 '{"conn_url":"postgres://10.0.0.2:5432/postgres","state":"running","role":"replica","receive_lsn":1073217536,"replay_lsn":1072168960}'
put lags/members/l2 '{"conn_url":"postgres://10.0.0.3:5432/postgres","state":"running","role":"replica","receive_lsn":1071120384,"replay_lsn":1071120383}'
put lags/members/l3 '{"conn_url":"postgres://10.0.0.4:5432/postgres","state":"running","role":"replica","receive_lsn":1073741825,"replay_lsn":0}'
put lags/members/l4 '{"conn_url":"postgres://10.0.0.5:5432/postgres","state":"running","role":"replica","replication_state":"streaming","xlog_location":1070000000}'
put lags/members/l5 '{"conn_url":"postgres://10.0.0.6:5432/postgres","state":"running","role":"replica","xlog_location":1070000000}'
put lags/members/l6 '{"conn_url":"postgres://10.0.0.7:5432/postgres","state":"running","role":"replica","replication_state":"in archive recovery","replay_lsn":4398046511104}'

# a tree with a cascade, a loop, and members that follow themselves, the leader or nobody known
put tree/leader m
put tree/members/m '{"conn_url":"postgres://10.0.0.1:5432/postgres","state":"running","role":"primary","tags":{"replicatefrom":"a"}}'
put tree/members/a '{"conn_url":"postgres://10.0.0.2:5432/postgres","state":"running","role":"replica"}'
put tree/members/b '{"conn_url":"postgres://10.0.0.3:5432/postgres","state":"running","role":"replica","tags":{"replicatefrom":"a"}}'
put tree/members/c '{"conn_url":"postgres://10.0.0.4:5432/postgres","state":"running","role":"replica","tags":{"replicatefrom":"b"}}'
put tree/members/d '{"conn_url":"postgres://10.0.0.5:5432/postgres","state":"running","role":"replica","tags":{"replicatefrom":"e"}}'
put tree/members/e '{"conn_url":"postgres://10.0.0.6:5432/postgres","state":"running","role":"replica","tags":{"replicatefrom":"d"}}'
put tree/members/f '{"conn_url":"postgres://10.0.0.7:5432/postgres","state":"running","role":"replica","tags":{"replicatefrom":"f"}}'
put tree/members/g '{"conn_url":"postgres://10.0.0.8:5432/postgres","state":"running","role":"replica","tags":{"replicatefrom":"m"}}'
put tree/members/h '{"conn_url":"postgres://10.0.0.9:5432/postgres","state":"running","role":"replica","tags":{"replicatefrom":"zz"}}'

# tags of all kinds, two members on one host, names beyond ASCII
put tags/leader t1
put tags/members/t1 '{"conn_url":"postgres://same/postgres","state":"running","role":"primary","tags":{"s":"on","t":"yes","u":"1","v":"1.10","w":"null","x":"~","y":"","z":"a: b"}}'
put tags/members/t2 '{"conn_url":"postgres://same/postgres","state":"running","role":"replica","tags":{"i":1,"r":1.5,"n":null,"l":[1,"two",[3]],"m":{"k":{"deep":true}}}}'
put tags/members/t3 '{"conn_url":"postgres://other:6000/postgres","state":"running","role":"replica","tags":{"multi":"one\ntwo\n","hash":"a #b","star":"*x","quote":"it'"'"'s","dq":"say \"hi\"","lead":" x","2026-01-01":"2026-01-01","ü":"ö"}}'
put tags/members/t4 '{"conn_url":"postgres://other/postgres","state":"running","role":"replica","tags":{"long":"0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789","longer":"abcdefghi abcdefghi abcdefghi abcdefghi abcdefghi abcdefghi abcdefghi abcdefghi abcdefghi abcdefghi abcdefghi"}}'
put tags/members/tä '{"conn_url":"postgres://höst:5432/postgres","state":"running","role":"replica"}'

put sched/leader a
put sched/failover '{"leader":"a","scheduled_at":"2026-12-05T10:00:00.5+02:00"}'
put sched/members/a '{"conn_url":"postgres://10.0.0.1:5432/postgres","state":"running","role":"primary"}'
put sched/history '[]'
put a-name-as-long-as-this-one-does-not-fit-into-the-border-above-the-table-that-it-belongs-to/members/a '{}'
put sched2/failover '{"leader":"a","member":"b","scheduled_at":"2026-12-05 10:00Z"}'
put sched2/history 'garbage'
put sched2/config 'garbage'
put sched2/status 'garbage'
put sched2/sync 'garbage'

# --- the comparison

cat >"$root/root/howdah-interop.$$.yml" <<YAML
scope: plain
etcd3:
  host: 127.0.0.1:$port
YAML
cp "$root/root/howdah-interop.$$.yml" "$work/ctl.yml"
clusters='plain full reasons bare standby quorum ghost lags tree tags sched sched2 absent
 a-name-as-long-as-this-one-does-not-fit-into-the-border-above-the-table-that-it-belongs-to'
compared=0
failed=0

compare()
{
    chroot "$root" env LC_ALL=C.UTF-8 TZ=UTC patronictl -c "/root/howdah-interop.$$.yml" "$@" \
        >"$work/theirs" 2>"$work/theirs.err" </dev/null
    theirs_status=$?
    TZ=UTC "$ours" -c "$work/ctl.yml" "$@" >"$work/ours" 2>"$work/ours.err" </dev/null
    ours_status=$?
    compared=$((compared + 1))
    cmp -s "$work/theirs" "$work/ours" && [ $theirs_status = $ours_status ] && return
    failed=$((failed + 1))
    echo "DIFFERENT: $* (exit $theirs_status, ours $ours_status)"
    diff "$work/theirs" "$work/ours"
    tail -n 3 "$work/theirs.err"
    cat "$work/ours.err"
}

compare list
compare dsn
compare dsn -r replica
compare dsn -r standby-leader
compare list plain full
for cluster in $clusters; do
    compare list "$cluster"
    compare topology "$cluster"
    compare list -f json "$cluster"
    compare list -f yaml "$cluster"
    compare list -f tsv "$cluster"
    compare show-config "$cluster"
done
for cluster in plain full bare tags; do
    compare list -e "$cluster"
    compare list -e -f json "$cluster"
    compare list -e -f yml "$cluster"
    compare list -e -f tsv "$cluster"
done
for cluster in plain sched sched2 absent; do
    for format in pretty tsv json yaml; do
        compare history -f $format "$cluster"
    done
done

echo "compared $compared, different $failed; $(chroot "$root" patronictl version)"
[ $failed = 0 ]

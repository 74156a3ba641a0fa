"""Promotions that PostgreSQL itself would take its time over."""
import signal
import threading

from cluster import Cluster, cmdline, kill, wait_for


def process_of(member, name):
    return next((pid for pid in member.postgres_pids() if name in cmdline(pid)), None)


def test_an_order_that_the_startup_process_sleeps_through():
    """The end of a WAL receiver and the order to promote reach the startup process in one wake-up: it sees
    the first, and sleeps until wal_retrieve_retry_interval is over. A fast switchover meets this by chance
    (the receiver's next try fails just then); here it happens nearly always."""
    with Cluster(dcs_parameters={"wal_retrieve_retry_interval": "40s"}) as c:
        p = c.start()
        target = next(m for m in c.members if m is not p)
        first = process_of(target, "walreceiver")
        kill(first, signal.SIGTERM)  # the first failure is tried again at once, the next is not

        def streams_again():
            return process_of(target, "walreceiver") not in (None, first) and c.streaming()
        wait_for("streams again", streams_again, 20)
        startup = process_of(target, "startup")
        kill(startup, signal.SIGSTOP)
        try:
            asked = threading.Thread(target=p.rest, args=(
                "/switchover", "POST", {"leader": p.name, "candidate": target.name}), daemon=True)
            asked.start()
            wait_for("the order to promote", lambda: "reason=LEADER_PROMOTING" in target.log_text(), 20)
            wait_for("no WAL receiver", lambda: process_of(target, "walreceiver") is None, 10)
        finally:
            kill(startup, signal.SIGCONT)
        wait_for("writes", lambda: c.is_writable(target), 5)

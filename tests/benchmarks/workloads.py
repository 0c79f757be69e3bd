"""What is measured: each workload names a method that a driver may have."""

from __future__ import annotations

from typing import NamedTuple


class Workload(NamedTuple):
    title: str
    method: str
    """The driver's method, which runs it once: a coroutine method, or for synchronous drivers a plain one."""


WORKLOADS = {
    "one_row": Workload("prepared SELECT 1 + $1, one connection, one at a time", "one_row"),
    "int4_1000": Workload("1,000 rows of one int4, prepared", "int4_1000"),
    "group_100": Workload("100 selects of a task group on one connection (asyncpg, psycopg: one by one)", "group_100"),
    "notify_1": Workload("1,000 notifications of one transaction to 1 subscriber", "notify_1"),
    "notify_10": Workload("1,000 notifications of one transaction to 10 subscribers", "notify_10"),
    "notify_latency": Workload("one notification, sent and received", "notify_latency"),
}

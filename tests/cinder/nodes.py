"""The volume services of a cloud: one, or two that are a cluster, which whoever starts it asks for."""

import os
from typing import Any

CLUSTERED = "VHDX_CINDER_CLUSTER"
"""Set in the environment, there are two volume services, one cluster with locks in a Redis."""

CLUSTER = "c1"
BACKENDS = ("vhdx", "vhd")
NODE = "VHDX_CINDER_NODE"
"""Names the host in the environment of a volume service and of what it starts."""

LOCK_SECONDS = 10
"""How long a lock outlives the service that has it."""

_POOLS = ("vhdx#share1", "vhdx#share2", "vhd#encrypted")


def clustered() -> bool:
    """Whether there is a cluster."""
    return bool(os.environ.get(CLUSTERED))


def hosts() -> tuple[str, ...]:
    """What the hosts of the volume services are called."""
    return ("host-1", "host-2") if clustered() else ("host-1",)


def pools() -> set[str]:
    """What the scheduler calls the pools."""
    owner = CLUSTER if clustered() else "host-1"
    return {f"{owner}@{pool}" for pool in _POOLS}


def lock_server(port: int) -> str:
    """How the services of a cluster name the Redis that has their locks."""
    return f"redis://127.0.0.1:{port}?lock_timeout={LOCK_SECONDS}"


def services() -> set[str]:
    """The services, which each host has for each backend."""
    return {f"{host}@{backend}" for host in hosts() for backend in BACKENDS}


def pool_of(shown: Any) -> str:
    """The pool of a volume of which Cinder told that."""
    return str(shown["cluster_name"] or shown["os-vol-host-attr:host"])


def destination(pool: str) -> str:
    """As much of a migration's destination as Cinder minds: in a cluster the scheduler chooses the pool itself."""
    return pool.partition("#")[0] if clustered() else pool


def place(pool: str) -> dict[str, str]:
    """How a request names that pool."""
    return {"cluster" if pool.startswith(f"{CLUSTER}@") else "host": pool}

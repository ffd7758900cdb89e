"""What every OpenStack stands on: MariaDB, RabbitMQ, memcached and, for a cluster, Redis.

All of it on loopback ports and in the work directory.
"""

import os
import subprocess

from tests.cinder.processes import Processes
from tests.cinder.waiting import until, until_connected
from tests.cinder.workplace import Workplace

SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
RABBIT = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""The server itself: the one in the PATH changes to an account of its own."""

_DATABASES = ("cinder", "keystone", "glance")
_LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"


THREADS = "VHDX_CINDER_THREADS"
"""Set in the environment, Cinder's volume service runs in native threads, not under eventlet."""


def environment(place: Workplace, **more: str) -> dict[str, str]:
    """That of every process: nothing of the user's own configuration."""
    return {
        "PATH": SYSTEM_PATH,
        "HOME": str(place.state / "home"),
        "LC_ALL": "C.UTF-8",
        "PYTHONWARNINGS": "ignore",
        "no_proxy": "127.0.0.1,localhost",
        **{key: value for key, value in os.environ.items() if key.startswith("VHDX_CINDER_")},
        **more,
    }


def start_broker(place: Workplace, processes: Processes) -> None:
    """RabbitMQ and its port mapper; it takes a while until it takes connections."""
    home = place.state / "rabbit"
    home.mkdir()
    mapper = str(place.ports["mapper"])
    processes.start("epmd", ["epmd", "-address", "127.0.0.1", "-port", mapper], environment(place))
    (home / "enabled_plugins").write_text("[].\n")
    (home / "rabbitmq.conf").write_text("loopback_users = none\nvm_memory_high_watermark.absolute = 512MB\n")
    settings = {
        "RABBITMQ_NODENAME": "cinder@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(place.ports["broker"]),
        "RABBITMQ_DIST_PORT": str(place.ports["distribution"]),
        "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
        "RABBITMQ_SERVER_START_ARGS": _LOOPBACK,
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{_LOOPBACK} +S 1:1",
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": mapper,
    }
    processes.start("rabbit", [RABBIT], environment(place, **settings))


def start_cache(place: Workplace, processes: Processes) -> None:
    """Memcached, for tokens."""
    port = str(place.ports["cache"])
    command = ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "64"]
    processes.start("memcached", command, environment(place))


def start_locks(place: Workplace, processes: Processes) -> None:
    """Redis, for the locks of a cluster."""
    port = str(place.ports["locks"])
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", str(place.state)]
    processes.start("redis", command, environment(place))
    until_connected(processes, "redis", place.ports["locks"])


def start_database(place: Workplace, processes: Processes) -> None:
    """MariaDB with the empty databases."""
    data, socket = place.state / "mysql", place.state / "mysql.sock"
    install = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}"]
    install += ["--auth-root-authentication-method=normal", "--skip-test-db"]
    processes.run("mysql-install", install, environment(place))
    command = [
        "mariadbd",
        "--no-defaults",
        "--user=root",
        f"--datadir={data}",
        f"--socket={socket}",
        f"--pid-file={place.state / 'mysql.pid'}",
        "--bind-address=127.0.0.1",
        f"--port={place.ports['database']}",
        "--max-connections=400",
        "--innodb-flush-log-at-trx-commit=0",
        "--skip-log-bin",
    ]
    processes.start("mysql", command, environment(place))
    until_connected(processes, "mysql", place.ports["database"])
    until(lambda: _ask(place, "select 1;"), "MariaDB answers")
    statements = [f"create database {name} character set utf8mb3;" for name in _DATABASES]
    statements += [
        f"grant all on {name}.* to 'os'@'{host}' identified by '{place.password}';"
        for name in _DATABASES
        for host in ("localhost", "127.0.0.1")
    ]
    if not _ask(place, "\n".join(statements)):
        raise RuntimeError(f"the databases could not be made\n{processes.tail('mysql')}")


def _ask(place: Workplace, statements: str) -> bool:
    """Run statements, which may hold secrets and go through standard input."""
    command = ["mariadb", "--no-defaults", "-uroot", "-S", str(place.state / "mysql.sock")]
    done = subprocess.run(
        command, env=environment(place), input=statements.encode(), capture_output=True, check=False
    )
    return done.returncode == 0

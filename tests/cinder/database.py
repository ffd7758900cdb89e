"""The databases of a cloud, for what no interface of a service tells or changes."""

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from tests.cinder.cloud import Cloud

_URL = re.compile(r"mysql\+pymysql://(?P<user>\w+):(?P<password>\w+)@(?P<host>[\d.]+):(?P<port>\d+)/cinder")


def run(cloud: Cloud, name: str, statement: str, *values: object) -> list[dict[str, Any]]:
    """Run one statement in the database of that name; the rows that it gives."""
    found = _URL.search(Path(cloud.home, "etc", "cinder.conf").read_text())
    assert found is not None
    connection = pymysql.connect(
        host=found["host"],
        port=int(found["port"]),
        user=found["user"],
        password=found["password"],
        database=name,
        autocommit=True,
        cursorclass=DictCursor,
    )
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())

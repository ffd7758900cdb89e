"""A whole cloud, from nothing to its end."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cinder import infrastructure, nodes, samba
from tests.cinder.cloud import Cloud
from tests.cinder.environments import Environments
from tests.cinder.identity_service import IdentityService
from tests.cinder.image_service import ImageService
from tests.cinder.keeper import kept
from tests.cinder.processes import MARK, Processes
from tests.cinder.rest import Rest
from tests.cinder.volume_service import VolumeService
from tests.cinder.waiting import until_connected
from tests.cinder.workplace import Workplace
from tests.support.smbd import Smbd


@contextmanager
def running(environments: Environments, seconds: float) -> Iterator[tuple[Cloud, Workplace]]:
    """Start all services; when left, or after so many seconds, nothing of them is there any more but the logs."""
    place = Workplace(Path(tempfile.mkdtemp(prefix="vhdx-cinder-", dir="/tmp")))
    # What is started from here on is marked and keeps its temporary files in this place, Samba's too.
    os.environ[MARK] = place.mark
    tempfile.tempdir = str(place.state)
    try:
        with ExitStack() as stack:
            processes = stack.enter_context(Processes(place.records, place.logs))
            stack.enter_context(kept(place.records, place.mark, seconds))
            server = Smbd()
            samba.serve(place, server)
            stack.enter_context(server)
            yield _start(place, processes, environments, server), place
    finally:
        for directory in (place.state, place.shares, place.etc):
            shutil.rmtree(directory, ignore_errors=True)


def _start(place: Workplace, processes: Processes, environments: Environments, server: Smbd) -> Cloud:
    began = time.monotonic()
    cloud = Cloud(
        home=str(place.home),
        identity=place.url("identity"),
        volume=place.url("volume"),
        image=place.url("image"),
        password=place.password,
        shares={name: str(place.shares / name) for name in samba.SHARES},
        user=server.user,
        server=server.host,
        port=server.port,
        share_password=server.password,
    )
    identity = IdentityService(place, processes, environments)
    images = ImageService(place, processes, environments)
    volumes = VolumeService(place, processes, environments)
    infrastructure.start_broker(place, processes)
    infrastructure.start_cache(place, processes)
    infrastructure.start_database(place, processes)
    if nodes.clustered():
        infrastructure.start_locks(place, processes)
    with ThreadPoolExecutor() as threads:
        for filling in [threads.submit(service.fill) for service in (identity, images, volumes)]:
            filling.result()
    identity.start()
    images.start()
    rest = Rest(cloud)
    project, user = identity.register(rest)
    until_connected(processes, "rabbit", place.ports["broker"])
    volumes.start(project, user)
    images.wait()
    volumes.wait(rest)
    volumes.make_types(rest)
    print(f"a cloud in {place.home}: {time.monotonic() - began:.0f} s", flush=True)
    return cloud

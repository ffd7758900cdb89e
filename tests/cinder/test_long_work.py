"""While much data is moved the service goes on: its heart beats, and others are served."""

import pytest

from tests.cinder.rest import Rest
from tests.cinder.shares import Shares
from tests.cinder.volumes import Volumes

GIB = 1 << 30
SIZE = 4 * GIB
PIECE = bytes(range(256)) * (16 << 12)


def heartbeat(rest: Rest, backend: str) -> str:
    """When the services last said that they are alive; they have to be up."""
    services = rest.volume("GET", "/os-services?binary=cinder-volume")["services"]
    ours = [one for one in services if one["host"].endswith(f"@{backend}")]
    assert {one["state"] for one in ours} == {"up"}
    return " ".join(str(one["updated_at"]) for one in ours)


def test_a_flattened_volume_of_4_gib_keeps_nobody_waiting(rest: Rest, volumes: Volumes, shares: Shares) -> None:
    if volumes.backend != "vhdx":
        pytest.skip("the one backend shows it for both")
    volume = volumes.create(SIZE // GIB)
    with shares.open(volume, writable=True) as disk:
        for offset in range(0, SIZE, len(PIECE)):
            disk.write(offset, PIECE)
        disk.flush()
    snapshot = volumes.snapshot(volume)
    shares.write(volume, SIZE - 512, b"1" * 512)
    told = volumes.act(
        volume, "os-volume_upload_image", image_name="long", disk_format="raw", container_format="bare", force=False
    )
    image = told["os-volume_upload_image"]["image_id"]
    try:
        beats, served = set(), 0
        while volumes.show(volume)["status"] == "uploading":
            beats.add(heartbeat(rest, "vhdx"))
            other = volumes.create()
            volumes.delete_snapshot(volumes.snapshot(other))
            volumes.delete(other)
            served += volumes.show(volume)["status"] == "uploading"
        volumes.wait("volumes", volume, "available")
        assert rest.image("GET", f"/images/{image}")["size"] == SIZE
        # Were they kept waiting, they would have been done when the long work was, and not before.
        assert served > 2
        assert len(beats) > 2
    finally:
        rest.image("DELETE", f"/images/{image}")
    volumes.delete_snapshot(snapshot)
    assert shares.read(volume, SIZE - 512, 512) == b"1" * 512

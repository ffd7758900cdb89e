"""Empty volumes, their growth, their copies, and the services themselves."""

import pytest

from tests.cinder.nodes import pools
from tests.cinder.rest import Refused, Rest
from tests.cinder.shares import Shares
from tests.cinder.volumes import Failed, Volumes

GIB = 1 << 30
OFFSET = 1 << 20
BEFORE, AFTER = b"before" * 100, b"after!" * 100


def test_a_new_volume_reads_as_zeros_and_takes_what_is_written(volumes: Volumes, shares: Shares) -> None:
    volume = volumes.create()
    assert shares.files_of(volume) == {f"{shares.share_of(volume)}/volume-{volume}.{volumes.backend}"}
    assert shares.size(volume) == GIB
    assert shares.read(volume, OFFSET, 600) == bytes(600)
    shares.write(volume, OFFSET, BEFORE)
    assert shares.read(volume, OFFSET, 600) == BEFORE


def test_an_extended_volume_keeps_its_bytes(volumes: Volumes, shares: Shares) -> None:
    volume = volumes.create()
    shares.write(volume, OFFSET, BEFORE)
    volumes.extend(volume, 3)
    assert volumes.show(volume)["size"] == 3
    assert shares.size(volume) == 3 * GIB
    assert shares.read(volume, OFFSET, 600) == BEFORE
    assert shares.read(volume, 2 * GIB, 512) == bytes(512)


def test_a_clone_is_independent_of_its_source(volumes: Volumes, shares: Shares) -> None:
    source = volumes.create()
    shares.write(source, OFFSET, BEFORE)
    clone = volumes.create(2, source_volid=source)
    shares.write(source, OFFSET, AFTER)
    assert shares.size(clone) == 2 * GIB
    assert shares.read(clone, OFFSET, 600) == BEFORE
    volumes.delete(source)
    assert shares.read(clone, OFFSET, 600) == BEFORE


def test_a_clone_of_a_volume_with_snapshots_is_flat(volumes: Volumes, shares: Shares) -> None:
    source = volumes.create()
    shares.write(source, OFFSET, BEFORE)
    volumes.snapshot(source)
    shares.write(source, OFFSET + 600, AFTER)
    clone = volumes.create(source_volid=source)
    assert len(shares.files_of(clone)) == 1
    assert shares.read(clone, OFFSET, 1200) == BEFORE + AFTER


def test_the_type_of_a_volume_says_its_format(rest: Rest, volumes: Volumes, shares: Shares) -> None:
    other = {"vhd": "vhdx", "vhdx": "vhd"}[volumes.backend]
    specs = {"volume_backend_name": volumes.backend, "smbfs:volume_format": other}
    kind = rest.volume("POST", "/types", {"volume_type": {"name": f"{other}-there", "extra_specs": specs}})
    volume = volumes.create(volume_type=f"{other}-there")
    assert shares.active(volume).endswith(f"volume-{volume}.{other}")
    volumes.delete(volume)
    rest.volume("DELETE", f"/types/{kind['volume_type']['id']}")


def test_a_tenant_has_no_say_in_the_format(volumes: Volumes, shares: Shares) -> None:
    other = {"vhd": "vhdx", "vhdx": "vhd"}[volumes.backend]
    said = {"volume_format": other, "smbfs:volume_format": other}
    volume = volumes.create(metadata=said)
    assert shares.active(volume).endswith(f"volume-{volume}.{volumes.backend}")


def test_a_volume_that_is_too_large_is_refused_and_leaves_nothing(volumes: Volumes, shares: Shares) -> None:
    before = shares.files()
    with pytest.raises((Failed, Refused)):
        volumes.create(1 << 20)
    assert shares.files() == before
    volumes.force_clear()


def test_the_pools_tell_their_capacity(rest: Rest) -> None:
    found = rest.volume("GET", "/scheduler-stats/get_pools?detail=true")["pools"]
    assert {pool["name"] for pool in found} == pools()
    for pool in found:
        told = pool["capabilities"]
        assert told["vendor_name"] and told["driver_version"] and told["storage_protocol"]
        assert 0 < told["free_capacity_gb"] <= told["total_capacity_gb"]
        assert told["backend_state"] == "up"

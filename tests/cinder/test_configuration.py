"""Configurations that contradict themselves keep a backend from starting, with an error that names the option."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cinder import exception, objects
from oslo_config import cfg

objects.register_all()

from cinder.volume import configuration  # noqa: E402  its objects have to be there before
from cinder.volume.manager import volume_backend_opts  # noqa: E402

from smbfs_driver.driver import SmbfsDriver  # noqa: E402

SECTION = "under_test"


@pytest.fixture
def conf(tmp_path: Path) -> Iterator[cfg.ConfigOpts]:
    """Cinder's configuration, with a backend of one share, as it was before at the end."""
    shares = tmp_path / "shares"
    shares.touch(mode=0o600)
    shares.write_text("//127.0.0.1/share -o username=u,password=p,port=1\n")
    SmbfsDriver(configuration=configuration.Configuration(volume_backend_opts, config_group=SECTION))
    cfg.CONF.set_override("smbfs_shares_config", str(shares), SECTION)
    yield cfg.CONF
    cfg.CONF.clear()
    for name in ("smbfs_shares_config", "smbfs_used_ratio", "smbfs_oversub_ratio", "reserved_percentage"):
        cfg.CONF.clear_override(name, SECTION)
    cfg.CONF.clear_override("max_over_subscription_ratio", SECTION)
    cfg.CONF.clear_override("backend_url", "coordination")


def started(cluster: str | None = None) -> SmbfsDriver:
    settings = configuration.Configuration(volume_backend_opts, config_group=SECTION)
    driver = SmbfsDriver(configuration=settings, host=f"host@{SECTION}", cluster_name=cluster)
    driver.do_setup(None)
    return driver


def test_a_plain_backend_starts(conf: cfg.ConfigOpts) -> None:
    started().check_for_setup_error()


@pytest.mark.parametrize(
    ("own", "value", "others", "said"),
    [
        ("smbfs_used_ratio", 0.9, "reserved_percentage", 10),
        ("smbfs_oversub_ratio", 2.0, "max_over_subscription_ratio", "3.0"),
    ],
)
def test_a_ratio_is_said_in_one_way(
    conf: cfg.ConfigOpts, own: str, value: float, others: str, said: object
) -> None:
    conf.set_override(own, value, SECTION)
    started()
    conf.set_override(others, said, SECTION)
    with pytest.raises(exception.InvalidConfigurationValue, match=f"{own} in addition to {others}"):
        started()


@pytest.mark.parametrize("url", ["file:///var/lib/cinder", "ipc://", "zake://"])
def test_a_cluster_needs_locks_that_all_of_its_nodes_see(conf: cfg.ConfigOpts, url: str) -> None:
    conf.set_override("backend_url", url, "coordination")
    started()
    with pytest.raises(exception.InvalidConfigurationValue, match="backend_url"):
        started(f"cluster@{SECTION}")
    conf.set_override("backend_url", "redis://127.0.0.1:1", "coordination")
    started(f"cluster@{SECTION}")


def test_a_list_of_shares_that_others_can_read_is_refused(conf: cfg.ConfigOpts) -> None:
    Path(conf[SECTION].smbfs_shares_config).chmod(0o644)
    with pytest.raises(exception.VolumeBackendAPIException, match="chmod 600") as refused:
        started()
    assert "password=p" not in str(refused.value)


def test_the_sample_of_a_configuration_has_every_option() -> None:
    program = Path(sys.executable).with_name("oslo-config-generator")
    command = [program, "--namespace", "smbfs_driver"]
    sample = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for option in SmbfsDriver.get_driver_options():
        if option.name.startswith("smbfs_"):
            assert f"\n#{option.name} =" in sample
    assert "[backend_defaults]" in sample

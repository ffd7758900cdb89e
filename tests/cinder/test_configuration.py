"""Configurations that contradict themselves keep a backend from starting, with an error that names the option."""

import os
import pwd
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
from smbfs_driver.options import OPTIONS  # noqa: E402

SECTION = "under_test"


@pytest.fixture
def conf(tmp_path: Path) -> Iterator[cfg.ConfigOpts]:
    """Cinder's configuration, with a backend of one share, as it was before at the end."""
    shares = tmp_path / "shares"
    shares.touch(mode=0o600)
    shares.write_text("//127.0.0.1/share -o username=u,password=hidden,port=1\n")
    configuration.Configuration([*volume_backend_opts, *OPTIONS], config_group=SECTION)
    cfg.CONF.set_override("smbfs_shares_config", str(shares), SECTION)
    yield cfg.CONF
    cfg.CONF.clear()
    for option in OPTIONS:
        cfg.CONF.clear_override(option.name, SECTION)
    for name in ("reserved_percentage", "max_over_subscription_ratio"):
        cfg.CONF.clear_override(name, SECTION)
    cfg.CONF.clear_override("backend_url", "coordination")


def started(cluster: str | None = None) -> SmbfsDriver:
    settings = configuration.Configuration(volume_backend_opts, config_group=SECTION)
    driver = SmbfsDriver(configuration=settings, host=f"host@{SECTION}", cluster_name=cluster)
    driver.do_setup(None)
    return driver


def refusal(cluster: str | None = None) -> str:
    """What the making of a driver ends with, which is one line."""
    settings = configuration.Configuration(volume_backend_opts, config_group=SECTION)
    with pytest.raises(exception.InvalidConfigurationValue) as refused:
        SmbfsDriver(configuration=settings, host=f"host@{SECTION}", cluster_name=cluster)
    told = str(refused.value)
    assert told.startswith(f"[{SECTION}] ")
    assert "\n" not in told
    assert "hidden" not in told
    return told


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
    assert f"{own} in addition to {others}" in refusal()


@pytest.mark.parametrize("url", ["file:///var/lib/cinder", "FILE:///var/lib/cinder", "ipc://", "zake://", ""])
def test_a_cluster_needs_locks_that_all_of_its_nodes_see(conf: cfg.ConfigOpts, url: str) -> None:
    conf.set_override("backend_url", url, "coordination")
    started()
    told = refusal(f"c1@{SECTION}")
    assert "cluster = c1 " in told
    assert f"backend_url = {url} " in told
    assert "cinder.conf" in told
    conf.set_override("backend_url", "redis://127.0.0.1:1", "coordination")
    started(f"cluster@{SECTION}")


def list_of(conf: cfg.ConfigOpts) -> Path:
    return Path(conf[SECTION].smbfs_shares_config)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_list_of_shares_that_others_can_read_or_change_is_refused(conf: cfg.ConfigOpts, mode: int) -> None:
    path = list_of(conf)
    path.chmod(mode)
    told = refusal()
    assert "smbfs_shares_config" in told
    assert told.endswith(f"run: chmod 600 {path}")
    path.chmod(0o600)
    started()


def test_a_list_of_shares_that_is_not_there_is_refused(conf: cfg.ConfigOpts) -> None:
    path = list_of(conf)
    path.rename(path.with_name("elsewhere"))
    told = refusal()
    assert f"smbfs_shares_config: {path}: there is no such file" in told
    assert told.endswith(f"chmod 600 {path}")


@pytest.mark.parametrize("closed", ["the file", "the directory"])
def test_a_list_of_shares_that_the_service_cannot_read_is_refused(conf: cfg.ConfigOpts, closed: str) -> None:
    """As another user, since nothing is closed to root."""
    path = list_of(conf)
    for parent in path.parents[:3]:
        parent.chmod(0o711)
    if closed == "the directory":
        path.parent.chmod(0o700)
    nobody = pwd.getpwnam("nobody")
    os.seteuid(nobody.pw_uid)
    try:
        told = refusal()
    finally:
        os.seteuid(0)
    assert f"smbfs_shares_config: {path}: nobody cannot " in told
    command = f"chown nobody: {path} && chmod 600 {path}" if closed == "the file" else f"namei -l {path}"
    assert told.endswith(command)


@pytest.mark.parametrize("state", ["missing", "exposed"])
def test_an_account_that_the_list_names_is_refused_with_both_files(conf: cfg.ConfigOpts, state: str) -> None:
    path = list_of(conf)
    path.write_text("//127.0.0.1/share -o credentials=the.account\n")
    account = path.parent / "the.account"
    if state == "exposed":
        account.write_text("username=u\npassword=hidden\n")
        account.chmod(0o644)
    told = refusal()
    assert "smbfs_shares_config" in told
    assert str(account) in told
    assert told.endswith(f"chmod 600 {account}")


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_a_list_without_a_share_is_refused(conf: cfg.ConfigOpts, text: str) -> None:
    list_of(conf).write_text(text)
    assert "smbfs_shares_config" in refusal()
    assert "lists no share" in refusal()


def test_a_mistake_in_the_list_is_refused_with_its_line(conf: cfg.ConfigOpts) -> None:
    path = list_of(conf)
    path.write_text(path.read_text() + "//127.0.0.1 -o username=u,password=hidden\n")
    assert f"smbfs_shares_config: {path}, line 2: " in refusal()


def test_a_samba_configuration_that_is_not_there_is_refused(conf: cfg.ConfigOpts, tmp_path: Path) -> None:
    path = tmp_path / "smb.conf"
    conf.set_override("smbfs_smb_conf", str(path), SECTION)
    told = refusal()
    assert f"smbfs_smb_conf: {path}: there is no such file" in told
    assert f"run: chmod a+r {path}" in told
    path.write_text("[global]\nclient signing = nonsense\n")
    assert f"smbfs_smb_conf: {path}, line 2: " in refusal()
    path.write_text("[global]\n")
    started()


def test_pools_that_do_not_fit_the_shares_are_refused(conf: cfg.ConfigOpts) -> None:
    conf.set_override("smbfs_pool_mappings", {"//127.0.0.1/other": "pool"}, SECTION)
    assert "smbfs_pool_mappings" in refusal()


def test_the_sample_of_a_configuration_has_every_option() -> None:
    program = Path(sys.executable).with_name("oslo-config-generator")
    command = [program, "--namespace", "smbfs_driver"]
    sample = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for option in SmbfsDriver.get_driver_options():
        if option.name.startswith("smbfs_"):
            assert f"\n#{option.name} =" in sample
    assert "[backend_defaults]" in sample

"""The settings of a backend in cinder.conf and the files that they name, checked in the constructor of the driver.

There Cinder has not changed its database yet, and only the backend whose driver raises does not start. In `do_setup` it
has already added the volumes to the cluster, and the service keeps running without its backend.
"""

import errno
import os
import pwd
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cinder import exception
from oslo_config import cfg
from oslo_log import log

from smbfs_driver.cinder import statistics
from smbfs_driver.shares import samba_config, shares
from smbfs_driver.shares.pools import Pools
from smbfs_driver.shares.samba_config import ClientDefaults
from smbfs_driver.shares.shares import Share
from vhdx.errors import Error

LOG = log.getLogger(__name__)

NODE_LOCAL = frozenset({"", "file", "ipc", "zake"})
"""Coordination backends that are local to a node, by URL scheme; no URL is none that is shared."""


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """The listed shares of a backend, its pools, and warnings for the operator."""

    listed: tuple[Share, ...]
    pools: Pools
    warnings: tuple[str, ...]


def load(configuration: Any, cluster: str | None) -> BackendSettings:
    """Load the settings of a backend. Logs a mistake in one line and raises InvalidConfigurationValue with it."""
    section = configuration.config_group
    try:
        _check_locks(cluster)
        statistics.check_ratios(configuration)
        defaults = _samba_defaults(configuration.smbfs_smb_conf)
        listed = _shares(configuration.smbfs_shares_config, defaults)
        pools = Pools(listed, configuration.smbfs_pool_mappings)
    except (Error, exception.InvalidConfigurationValue) as error:
        reason = f"[{section}] {error}"
        LOG.error("The backend does not start. %s", reason)
        raise exception.InvalidConfigurationValue(reason) from None
    warnings = (*defaults.warnings, *(told for share in listed for told in share.warnings))
    return BackendSettings(listed, pools, warnings)


def _check_locks(cluster: str | None) -> None:
    """Refuse node-local locks in a cluster, whose services could then change a volume at the same time."""
    url = cfg.CONF.coordination.backend_url or ""
    if cluster and urlsplit(url).scheme in NODE_LOCAL:
        raise Error(
            f"cluster = {cluster.partition('@')[0]} needs locks that all of its services see, and [coordination] "
            f"backend_url = {url} is seen on this machine only; in cinder.conf set backend_url = redis://HOST, or take "
            "cluster out"
        )


def _samba_defaults(name: str | None) -> ClientDefaults:
    try:
        return samba_config.of(name)
    except Error as error:
        raise Error(f"smbfs_smb_conf: {error}") from error
    except OSError as error:
        reason = _unreadable(error, f"chmod a+r {shlex.quote(str(name))}")
        raise Error(f"smbfs_smb_conf: {reason}; without smbfs_smb_conf no such file is needed") from error


def _shares(name: str, defaults: ClientDefaults) -> tuple[Share, ...]:
    try:
        listed = shares.load(Path(name), defaults)
    except Error as error:
        raise Error(f"smbfs_shares_config: {error}") from error
    except OSError as error:
        # The file may also be a credentials file in the list.
        path = shlex.quote(str(error.filename or name))
        through = "" if str(error.filename or name) == name else f"{name} names a file that cannot be used: "
        command = f"chown {_user()}: {path} && chmod 600 {path}"
        raise Error(f"smbfs_shares_config: {through}{_unreadable(error, command)}") from error
    if not listed:
        raise Error(f"smbfs_shares_config: {name}: lists no share; add a line //server/share -o username=...")
    return tuple(listed)


def _unreadable(error: OSError, command: str) -> str:
    """Why a file cannot be read, and *command*, which makes it readable."""
    path = str(error.filename)
    if error.errno == errno.ENOENT:
        return f"{path}: there is no such file; make it, and run: {command}"
    if error.errno == errno.EACCES and not os.path.lexists(path):
        return f"{path}: {_user()} cannot enter a directory above it; see which: namei -l {shlex.quote(path)}"
    if error.errno == errno.EACCES:
        return f"{path}: {_user()} cannot read it; run: {command}"
    return f"{path}: {error.strerror}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user id without a name, as in containers
        return str(os.geteuid())

"""Recovery of interrupted operations, when the service starts and when a share is reachable again."""

import threading

from cinder import coordination, exception
from oslo_log import log

from smbfs_driver.cinder.reach import BackendReach
from smbfs_driver.shares.pools import Pool
from smbfs_driver.worker.backend import Backend
from vhdx.errors import Error

LOG = log.getLogger(__name__)


class ShareRecovery:
    """Recovers each share once it is reachable, in a thread of its own.

    Holds the lock of a volume while it recovers it, so requests for that volume wait and others do not. Every operation
    recovers its own volume first in any case.
    """

    def __init__(self, reach: BackendReach) -> None:
        self._reach = reach
        self._due = reach.unsettled
        self._lock = threading.Lock()

    def begin(self, pool: Pool) -> None:
        """The share is reachable: recover it unless that is done."""
        with self._lock:
            if pool.address not in self._due:
                return
            self._due.remove(pool.address)
        threading.Thread(target=self._recover, args=(pool,), name=f"recover {pool.name}", daemon=True).start()

    def again(self, pool: Pool) -> None:
        """The share is unreachable: operations on it are interrupted, so it must be recovered again."""
        with self._lock:
            self._due.add(pool.address)

    def _recover(self, pool: Pool) -> None:
        try:
            for name in self._reach.run(Backend.unsettled, pool.address):
                self._settle(pool, name)
        except (Error, OSError) as error:
            LOG.warning("%s: recovery failed, will be retried: %s", pool.address, error)
            self.again(pool)

    def _settle(self, pool: Pool, name: str) -> None:
        lock = coordination.COORDINATOR.get_lock(f"smbfs-{name}")
        if not lock.acquire(blocking=False):
            # An operation on the volume recovers it first, unless it is a move to this share.
            self.again(pool)
            return
        try:
            if self._reach.run(Backend.recover, pool.address, name):
                LOG.info("%s: interrupted operation on %s recovered", pool.address, name)
        except (Error, OSError, exception.CinderException) as error:
            LOG.error("%s: cannot recover the interrupted operation on %s: %s", pool.address, name, error)
            self.again(pool)
        finally:
            lock.release()



"""Shares set right when the service starts, and when one comes back: what was stopped there is finished or undone."""

import threading

from cinder import coordination, exception
from oslo_log import log

from smbfs_driver.cinder.reach import BackendReach
from smbfs_driver.shares.pools import Pool
from smbfs_driver.worker.backend import Backend
from vhdx.errors import Error

LOG = log.getLogger(__name__)


class ShareRecovery:
    """Looks at each share once, as soon as it can be reached, beside everything else that the service does.

    It holds a volume's lock while it settles it, so whatever is asked of that volume waits; the rest does not. An
    operation settles its own volume first in any case.
    """

    def __init__(self, reach: BackendReach) -> None:
        self._reach = reach
        self._due = reach.unsettled
        self._lock = threading.Lock()

    def begin(self, pool: Pool) -> None:
        """The share can be reached: set it right, if that was not done since it could not."""
        with self._lock:
            if pool.address not in self._due:
                return
            self._due.remove(pool.address)
        threading.Thread(target=self._recover, args=(pool,), name=f"recover {pool.name}", daemon=True).start()

    def again(self, pool: Pool) -> None:
        """The share cannot be reached: whatever was under way there was stopped."""
        with self._lock:
            self._due.add(pool.address)

    def _recover(self, pool: Pool) -> None:
        try:
            for name in self._reach.run(Backend.unsettled, pool.address):
                self._settle(pool, name)
        except (Error, OSError) as error:
            LOG.warning("%s cannot be set right now: %s", pool.address, error)
            self.again(pool)

    def _settle(self, pool: Pool, name: str) -> None:
        lock = coordination.COORDINATOR.get_lock(f"smbfs-{name}")
        if not lock.acquire(blocking=False):
            # Somebody works on it, and settles it first, unless it is their move that left something here.
            self.again(pool)
            return
        try:
            if self._reach.run(Backend.recover, pool.address, name):
                LOG.info("%s: what was stopped on %s is settled", pool.address, name)
        except (Error, OSError, exception.CinderException) as error:
            LOG.error("%s: %s was stopped and cannot be settled: %s", pool.address, name, error)
            self.again(pool)
        finally:
            lock.release()



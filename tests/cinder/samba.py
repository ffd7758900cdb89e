"""The shares of the two backends, by a private Samba, and the lists that name them to the driver."""

from tests.cinder.workplace import Workplace
from tests.support.smbd import Smbd

SHARES = {"share1": "", "share2": "", "encrypted": "smb encrypt = required"}
_LISTS = {"vhdx": ("share1", "share2"), "vhd": ("encrypted",)}


def serve(place: Workplace, server: Smbd) -> None:
    """Have a server that does not run yet serve the shares, and write the lists."""
    for name, extra in SHARES.items():
        directory = place.shares / name
        directory.mkdir()
        server.add_share(name, directory, extra)
    for backend, names in _LISTS.items():
        target = place.etc / f"shares-{backend}"
        target.touch(mode=0o600)
        target.write_text("".join(_line(server, name) for name in names))


def _line(server: Smbd, name: str) -> str:
    options = f"username={server.user},password={server.password},port={server.port}"
    seal = ",seal" if SHARES[name] else ""
    return f"//{server.host}/{name} -o {options}{seal}\n"

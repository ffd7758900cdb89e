"""Keystone: its database, its users, and the catalogue of the other services."""

from tests.cinder.environments import Environments
from tests.cinder.infrastructure import environment
from tests.cinder.processes import Processes
from tests.cinder.rest import Rest
from tests.cinder.served import Served
from tests.cinder.waiting import until_answers
from tests.cinder.workplace import Workplace

_INTERFACES = ("public", "internal", "admin")


class IdentityService:
    """Keystone of one work directory."""

    def __init__(self, place: Workplace, processes: Processes, environments: Environments) -> None:
        self._place = place
        self._processes = processes
        self._programs = environments.identity / "bin"
        self._configuration = place.render("keystone.conf", database=place.database("keystone"))

    def fill(self) -> None:
        """Make its database, its keys and the administrator."""
        (self._place.state / "keystone").mkdir()
        owner = ["--keystone-user", "root", "--keystone-group", "root"]
        url = f"{self._place.url('identity')}/v3"
        self._manage("db_sync")
        self._manage("fernet_setup", *owner)
        self._manage("credential_setup", *owner)
        urls = [f"--bootstrap-{interface}-url={url}" for interface in _INTERFACES]
        self._manage("bootstrap", *urls, "--bootstrap-region-id=RegionOne")

    def _manage(self, *arguments: str) -> None:
        command = [self._programs / "keystone-manage", "--config-file", self._configuration, *arguments]
        settings = environment(self._place, OS_BOOTSTRAP_PASSWORD=self._place.password)
        self._processes.run("keystone-manage", command, settings)

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "OS_KEYSTONE_CONFIG_DIR": str(self._configuration.parent),
            "OS_KEYSTONE_CONFIG_FILES": self._configuration.name,
        }
        served = Served("identity", "keystone", self._programs)
        served.start(self._place, self._processes, settings)
        until_answers(self._processes, "keystone", f"{self._place.url('identity')}/v3", 200)

    def register(self, rest: Rest) -> tuple[str, str]:
        """The users and the catalogue; gives the ids of the project of the services and of Cinder's user."""
        project = rest.identity("POST", "/projects", {"project": {"name": "service", "domain_id": "default"}})
        project_id: str = project["project"]["id"]
        roles = {role["name"]: role["id"] for role in rest.identity("GET", "/roles")["roles"]}
        users = {}
        for name in ("cinder", "glance"):
            user = {"name": name, "password": self._place.password, "domain_id": "default"}
            users[name] = rest.identity("POST", "/users", {"user": user})["user"]["id"]
            for role in ("admin", "service"):
                rest.identity("PUT", f"/projects/{project_id}/users/{users[name]}/roles/{roles[role]}")
        volume, image = self._place.url("volume"), self._place.url("image")
        self._offer(rest, "cinder", "block-storage", f"{volume}/v3")
        self._offer(rest, "cinderv3", "volumev3", f"{volume}/v3/$(project_id)s")
        self._offer(rest, "glance", "image", image)
        return project_id, users["cinder"]

    @staticmethod
    def _offer(rest: Rest, name: str, kind: str, url: str) -> None:
        service = rest.identity("POST", "/services", {"service": {"name": name, "type": kind}})["service"]["id"]
        for interface in _INTERFACES:
            endpoint = {"service_id": service, "interface": interface, "region_id": "RegionOne", "url": url}
            rest.identity("POST", "/endpoints", {"endpoint": endpoint})

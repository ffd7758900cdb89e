"""Glance, with its images in files."""

import shutil

from tests.cinder.environments import Environments
from tests.cinder.infrastructure import environment
from tests.cinder.processes import Processes
from tests.cinder.served import Served
from tests.cinder.waiting import until_answers
from tests.cinder.workplace import Workplace


class ImageService:
    """Glance of one work directory."""

    def __init__(self, place: Workplace, processes: Processes, environments: Environments) -> None:
        self._place = place
        self._processes = processes
        self._programs = environments.identity / "bin"
        shutil.copytree(environments.identity / "etc" / "glance", place.etc / "glance")
        self._configuration = place.render(
            "glance-api.conf", port=str(place.ports["image"]), database=place.database("glance")
        )

    def fill(self) -> None:
        """Make its database and its directories."""
        for name in ("staging", "images", "tasks"):
            (self._place.state / "glance" / name).mkdir(parents=True)
        command = [self._programs / "glance-manage", "--config-file", self._configuration, "db", "sync"]
        self._processes.run("glance-manage", command, environment(self._place))

    def start(self) -> None:
        """Start it; `wait` waits until it answers."""
        settings = {
            "OS_GLANCE_CONFIG_DIR": str(self._configuration.parent),
            "OS_GLANCE_CONFIG_FILES": self._configuration.name,
        }
        Served("image", "glance", self._programs).start(self._place, self._processes, settings)

    def wait(self) -> None:
        """Until it answers."""
        until_answers(self._processes, "glance", f"{self._place.url('image')}/", 300)

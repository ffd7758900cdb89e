"""A WSGI application of OpenStack's, served by Gunicorn, which takes the chunked uploads that Cinder sends."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cinder.infrastructure import environment
from tests.cinder.processes import Processes
from tests.cinder.workplace import Workplace


@dataclass(frozen=True, slots=True)
class Served:
    """The application of *package*, as the service *service* of a work place, from the environment of *programs*."""

    service: str
    package: str
    programs: Path

    def start(self, place: Workplace, processes: Processes, settings: Mapping[str, str]) -> None:
        """Start it. It has no arguments, since the application would take them for its own."""
        options = {
            "bind": f"127.0.0.1:{place.ports[self.service]}",
            "wsgi_app": f"{self.package}.wsgi.api:application",
            "worker_class": "gthread",
            "workers": 1,
            "threads": 4,
            "timeout": 600,
            "keepalive": 0,
            "graceful_timeout": 2,
            "control_socket_disable": True,
        }
        file = place.etc / f"gunicorn-{self.package}.py"
        file.write_text("".join(f"{name} = {value!r}\n" for name, value in options.items()))
        arguments = {"GUNICORN_CMD_ARGS": f"--config={file}"}
        processes.start(self.package, [self.programs / "gunicorn"], environment(place, **settings, **arguments))

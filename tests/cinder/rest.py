"""The REST interfaces of a cloud, as its administrator."""

import json
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.cinder.cloud import Cloud

_VERSION = "volume 3.70"
_TOKEN_SECONDS = 1800.0
_MULTIPLE_CHOICES = 300


class Refused(Exception):
    """An answer that is an error: *status* is its number."""

    def __init__(self, method: str, url: str, status: int, text: str) -> None:
        super().__init__(f"{method} {url}: {status} {text[:600]}")
        self.status = status


class Rest:
    """Calls that give what the answer holds, and raise Refused."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._token = ""
        self._token_since = -_TOKEN_SECONDS
        self._project = ""

    @property
    def project(self) -> str:
        """The id of the administrator's project."""
        self._authenticated()
        return self._project

    def identity(self, method: str, path: str, body: object = None) -> Any:
        """Keystone."""
        return self._call(method, f"{self._cloud.identity}/v3{path}", body)

    def volume(self, method: str, path: str, body: object = None) -> Any:
        """Cinder."""
        return self._call(method, f"{self._cloud.volume}/v3/{self.project}{path}", body)

    def image(self, method: str, path: str, body: object = None) -> Any:
        """Glance."""
        return self._call(method, f"{self._cloud.image}/v2{path}", body)

    def upload(self, image: str, content: bytes) -> None:
        """The bytes of an image."""
        url = f"{self._cloud.image}/v2/images/{image}/file"
        self._raw("PUT", url, content, self._authenticated() | {"Content-Type": "application/octet-stream"})

    def download(self, image: str, path: Path) -> None:
        """The bytes of an image, into a file."""
        url = f"{self._cloud.image}/v2/images/{image}/file"
        request = urllib.request.Request(url, headers=self._authenticated())
        with urllib.request.urlopen(request, timeout=120) as reply, path.open("wb") as file:
            shutil.copyfileobj(reply, file, 1 << 20)

    def _authenticated(self) -> dict[str, str]:
        if time.monotonic() - self._token_since > _TOKEN_SECONDS:
            user = {"name": "admin", "domain": {"id": "default"}, "password": self._cloud.password}
            body = {
                "auth": {
                    "identity": {"methods": ["password"], "password": {"user": user}},
                    "scope": {"project": {"name": "admin", "domain": {"id": "default"}}},
                }
            }
            content, headers = self._raw(
                "POST",
                f"{self._cloud.identity}/v3/auth/tokens",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            self._token, self._token_since = headers["X-Subject-Token"], time.monotonic()
            self._project = json.loads(content)["token"]["project"]["id"]
        return {"X-Auth-Token": self._token, "OpenStack-API-Version": _VERSION}

    def _call(self, method: str, url: str, body: object) -> Any:
        headers = self._authenticated()
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        content, _ = self._raw(method, url, data, headers)
        return json.loads(content) if content else None

    @staticmethod
    def _raw(method: str, url: str, data: bytes | None, headers: dict[str, str]) -> tuple[bytes, Any]:
        request = urllib.request.Request(url, method=method, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return reply.read(), reply.headers
        except urllib.error.HTTPError as error:
            text = error.read()
            if error.code == _MULTIPLE_CHOICES:
                return text, error.headers
            raise Refused(method, url, error.code, text.decode(errors="replace")) from None

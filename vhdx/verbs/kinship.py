"""What the images of a directory are to each other."""

from collections.abc import Sequence

from vhdx.chain.children import Kin, Looked
from vhdx.chain.family import Means
from vhdx.image.base import ImageFormat
from vhdx.storage.base import FileSystem
from vhdx.verbs.contract import Kinsman


def kinship(files: FileSystem, paths: Sequence[str], format: ImageFormat, means: Means) -> list[Kinsman]:
    """Each of *paths* with its children among them; see `Engine.kinship`."""
    if not paths:
        return []
    seen: dict[str, Looked | Exception | None] = {}
    looking = Kin(files, paths[0], format, policy=means.policy, new_id=means.new_id, among=paths)
    for path in paths:
        try:
            seen[path] = looking.look(path)
        except ConnectionError:
            raise
        except OSError as error:  # what one file has must not hide the others
            seen[path] = error
    sound = {path: looked for path, looked in seen.items() if isinstance(looked, Looked)}
    kin = Kin(files, paths[0], format, policy=means.policy, new_id=means.new_id, among=list(sound))
    for path, looked in sound.items():
        kin.know(path, looked, None)
    return [
        Kinsman(path, looked.info, kin.children(path, looked)) if isinstance(looked, Looked) else Kinsman(path, looked)
        for path, looked in seen.items()
    ]

"""Opening an image of whatever format, recognised by its content unless the caller says which it is.

Bytes that are not recognised are an error, never "probably raw": a guest can write any header into its disk. For the
same reason a file that carries the marks of two formats is opened only when the caller says which of them it is.
"""

from vhdx.errors import AnotherFormat, Unrecognised
from vhdx.image.base import Admit, Image, ImageFormat, NewId
from vhdx.image.foreign import foreign
from vhdx.image.marks import Ends, ends
from vhdx.logs import debug
from vhdx.storage.base import Storage


def open_image(
    storage: Storage, *, new_id: NewId, format: ImageFormat | None = None, admit: Admit | None = None
) -> Image:
    """The image in *storage*, which it owns from here on; writable exactly when the storage is.

    *admit* is told what the image says of itself before a byte of the file is changed (a log replayed, a footer
    restored); what it raises is raised, and the file is as it was.

    Raises FormatError for bytes of no or of two formats, UnsupportedFeature; the storage is then closed.
    """
    found: Ends | None = None
    try:
        recognised = format
        if recognised is None:
            found = ends(storage)
            recognised = _recognise(storage, found)
    except BaseException:
        storage.close()
        raise
    access = "for writing" if storage.writable else "for reading"
    debug(__name__, "%s: opened %s as %s", storage.name, access, recognised)
    # Only the format that is met is loaded: a command that looks at one file is over sooner.
    match recognised:
        case ImageFormat.RAW:
            from vhdx.image.raw import open_raw  # noqa: PLC0415

            return open_raw(storage, admit=admit)
        case ImageFormat.VHD:
            from vhdx.image.vhd.open import open_vhd  # noqa: PLC0415

            return open_vhd(storage, new_id=new_id, admit=admit, found=found)
        case ImageFormat.VHDX:
            from vhdx.image.vhdx.open import open_vhdx  # noqa: PLC0415

            return open_vhdx(storage, new_id=new_id, admit=admit, found=found)


def recognise(storage: Storage) -> ImageFormat:
    """The format whose marks the file carries; never raw. Raises Unrecognised for none or two.

    AnotherFormat, where the file is known for something else, says what to do with it.
    """
    return _recognise(storage, ends(storage))


def _recognise(storage: Storage, found: Ends) -> ImageFormat:
    marks = [found.is_vhdx, found.is_vhd]
    if all(marks):
        reason = "it carries the marks of a VHDX and of a VHD, of which a guest may have written one; say which it is"
        raise Unrecognised("file", None, reason, file=storage.name)
    if not any(marks):
        other = foreign(storage)
        if other is not None:
            reason = f"neither a VHDX nor a VHD: it is {other.name}; {other.remedy}"
            raise AnotherFormat("file identifier", 0, reason, "2.2.1", file=storage.name)
        reason = "neither a VHDX nor a VHD; if it is a raw disk, say so"
        raise Unrecognised("file identifier", 0, reason, "2.2.1", file=storage.name)
    return ImageFormat.VHDX if marks[0] else ImageFormat.VHD

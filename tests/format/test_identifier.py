"""The file identifier, checksums, and what a record promises of cut-off bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vhdx.errors import FormatError
from vhdx.format import checksum, identifier


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=254))
def test_the_creator_reads_back(creator: str) -> None:
    data = identifier.build(creator)
    assert len(data) == 520
    assert data[:8] == b"vhdxfile"
    found = identifier.IDENTIFIER.parse(data).creator_text
    assert found == creator or len(creator.encode("utf-16-le")) > 510


def test_a_long_creator_is_cut() -> None:
    assert identifier.IDENTIFIER.parse(identifier.build("a" * 1000)).creator_text == "a" * 255


def test_a_creator_that_is_no_text_is_shown_all_the_same() -> None:
    data = b"vhdxfile" + b"\x00\xd8" * 256
    assert "\ufffd" in identifier.IDENTIFIER.parse(data).creator_text


def test_other_signatures_and_short_files_are_refused() -> None:
    for data, reason in (
        (b"", "truncated: 0 of 520 bytes"),
        (b"vhdxfile", "truncated: 8 of 520 bytes"),
        (b"VHDXFILE" + bytes(512), "the signature is b'VHDXFILE' instead of b'vhdxfile'"),
        (b"vhdxfile" + bytes(511), "truncated: 519 of 520 bytes"),
    ):
        with pytest.raises(FormatError, match=f"file identifier at offset 0: {reason}") as caught:
            identifier.IDENTIFIER.parse(data, 0)
        assert caught.value.offset == 0


def test_the_checksum_is_crc_32c() -> None:
    # The check value of CRC-32C, with the field behind the text that it is known for.
    assert checksum.crc32c(b"123456789", field=9) == checksum.crc32c(b"123456789" + bytes(4), field=9)
    assert checksum.crc32c(bytes(32), field=4) == 0x8A9136AA


@given(st.binary(min_size=8, max_size=200), st.integers(0, 1 << 20))
def test_sealed_bytes_are_sealed_and_broken_ones_are_not(data: bytes, place: int) -> None:
    whole = checksum.seal(data, field=4)
    assert checksum.is_sealed(whole, field=4)
    broken = bytearray(whole)
    broken[place % len(broken)] ^= 1 << place % 8
    assert not checksum.is_sealed(broken, field=4)

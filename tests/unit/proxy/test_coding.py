"""proxy/coding.py: gzip and deflate, and never more than was asked for."""

import gzip
import zlib

import pytest

from breeze_sidecar.proxy.coding import inflate

TEXT = b'{"errors": []}' * 10
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
RAW_DEFLATE = RAW.compress(TEXT) + RAW.flush()


@pytest.mark.parametrize(
    ("data", "coding"),
    [
        pytest.param(TEXT, "", id="none"),
        pytest.param(TEXT, "identity", id="identity"),
        pytest.param(gzip.compress(TEXT), "gzip", id="gzip"),
        pytest.param(gzip.compress(TEXT), "x-gzip", id="x-gzip"),
        pytest.param(gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:]), "gzip", id="two members"),
        pytest.param(zlib.compress(TEXT), "deflate", id="deflate"),
        pytest.param(RAW_DEFLATE, "deflate", id="deflate without its wrapper"),
    ],
)
def test_each_coding_is_read_up_to_the_limit(data: bytes, coding: str) -> None:
    assert inflate(data, coding, len(TEXT)) == (TEXT, True)
    assert inflate(data, coding, 20) == (TEXT[:20], False)


def test_a_bomb_is_read_no_further_than_the_limit() -> None:
    assert inflate(gzip.compress(b" " * 10_000_000), "gzip", 100) == (b" " * 100, False)


def test_cut_data_is_not_all_of_it() -> None:
    assert inflate(gzip.compress(TEXT)[:-9], "gzip", 1000)[1] is False


def test_what_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown content coding"):
        inflate(TEXT, "br", 100)
    with pytest.raises(zlib.error):
        inflate(TEXT, "gzip", 100)

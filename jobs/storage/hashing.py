"""Numbers that stand for texts: the same in every run, on every machine."""

import hashlib


def hash64(text: str) -> int:
    """Return a number of 64 bits, unsigned, that belongs to a text.

    Examples
    --------
    >>> hash64("a.jpg") == hash64("a.jpg") != hash64("b.jpg")
    True
    """
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


def stable_id(uri: str) -> int:
    """Return the id of an image: a number of 63 bits, never negative, that belongs to its URI.

    Examples
    --------
    >>> stable_id("s3://bucket/a.jpg") == stable_id("s3://bucket/a.jpg") != stable_id("s3://bucket/b.jpg")
    True
    """
    return hash64(uri) >> 1

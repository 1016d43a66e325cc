"""The published annotation files, and by what they are known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Version:
    """A published annotation file: its name in results, and the number that stands for 100 %.

    ``files`` are the SHA-256 of the forms in which it was published, byte for byte. Versions of
    migbench that did not know content wrote them into manifests; the first of them is what the file
    is called in hashes, so that the hash of a run stays what it was.
    """

    name: str
    scale: float
    files: tuple[str, ...] = ()


CUSTOM = "custom"
"""The version of every other file."""

KNOWN_VERSIONS = {
    "33dfdea676b23f086e67ca4259b8034fb5c0fc712af921d27a07a4201c30ece1": Version(
        "original",
        1,
        (
            # In the paper's code repository, with CRLF line ends; then on the data set's hub.
            "8f6e8fce3720dc6e17462533426d455463cda38b441edc2d70d65afa15681300",
            "0be98182eb41700b2028e0084846a6e3a88e8a495c9a02321425a811ef6fa4bb",
        ),
    ),
    "5251e6d36e235b92f220a1716768359d91ccf0eaf4b31e0287e8670a0861b418": Version(
        "revised", 1000, ("69aea94deef1bd2a9f5e117068b7a325a82bc9c0d11881f98f29338fbe779791",)
    ),
}
"""``MIG_data.json`` and ``revised_MIG_bench.json`` by their content
(`migbench.data.content.ContentHash`)."""

_CONTENT_OF_FILE = {
    file: content for content, version in KNOWN_VERSIONS.items() for file in version.files
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Which annotation file is meant: by its content, and by the bytes in which it was read.

    Runs of versions that did not know content have the hash of the bytes alone.
    """

    content_sha256: str | None
    file_sha256: str | None = None

    @property
    def content(self) -> str | None:
        """The hash of the content, where it is given or follows from that of the bytes."""
        return self.content_sha256 or _CONTENT_OF_FILE.get(self.file_sha256 or "")

    @property
    def short(self) -> str:
        """The beginning of a hash, to tell files apart in messages."""
        return (self.content or self.file_sha256 or "unknown")[:12]

    @property
    def lasting_name(self) -> str:
        """What stands for the file in the hashes of runs and difficulty splits."""
        known = KNOWN_VERSIONS.get(self.content_sha256 or "")
        return known.files[0] if known else self.content_sha256 or self.file_sha256 or ""

    def is_same(self, other: Identity) -> bool:
        """Whether both are the same file: by content, or where one lacks that, byte for byte."""
        if self.content and other.content:
            return self.content == other.content
        return self.file_sha256 is not None and self.file_sha256 == other.file_sha256

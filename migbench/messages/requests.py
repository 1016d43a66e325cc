"""One turn, ready for a model: texts and images in their order, and how to decode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from migbench.messages.images import ImageFile

Part = str | ImageFile
"""A request is a sequence of texts and images, in the order in which the model sees them."""


class Generation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to decode. The defaults are greedy; ``temperature`` 0 means no sampling."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    num_beams: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One turn in a model's own dialect, ready to be sent.

    ``image_set`` names the images shown together: requests that share it share a prefix, and the
    runner sends them one after another.
    """

    parts: tuple[Part, ...]
    generation: Generation = Generation()
    image_set: str = ""
    system: str | None = None

    @property
    def images(self) -> tuple[ImageFile, ...]:
        """The images, in the order shown."""
        return tuple(part for part in self.parts if isinstance(part, ImageFile))

    def text(self, image_token: str = "") -> str:
        """The whole text, with ``image_token`` where an image stands."""
        return "".join(part if isinstance(part, str) else image_token for part in self.parts)

    def identity(self) -> Iterator[str]:
        """What makes two requests the same: every part's content and the generation settings."""
        yield f"settings:{self.system!r} {self.generation!r}"
        for part in self.parts:
            yield f"text:{part}" if isinstance(part, str) else f"image:{part.digest()}"

"""How large the images are that targets lie in."""

from __future__ import annotations

from dataclasses import dataclass

from migbench.data.images import ImageFolder
from migbench.errors import UsageError
from migbench.messages import Size
from migbench.scoring import SampleScore


@dataclass
class Sizes:
    """Finds sizes in pixels: those that the run has kept, else those of the image files.

    ``unknown`` stands for images of which neither is there; ``assumed`` counts how often it did.
    """

    images: ImageFolder | None
    unknown: Size | None = None
    assumed: int = 0

    def of_target(self, sample: SampleScore) -> Size:
        """The size of the image that holds the target.

        Raises `UsageError` where it is not known, `ModelError` for a file that is no image.
        """
        instance, line = sample.instance, sample.line
        if line is not None and (kept := line.size(instance.target_image)) is not None:
            return kept
        name = instance.images[instance.target_image]
        file = self.images.file(name) if self.images else None
        if file and file.is_there:
            return file.size()
        if self.unknown is None:
            raise UsageError(
                f"image {name}: its size in pixels is not known; pass --images DIR with the image "
                "folder, or --unknown-size 1000x1000 to put boxes on a canvas of that size, which "
                "leaves their IoU as it is"
            )
        self.assumed += 1
        return self.unknown

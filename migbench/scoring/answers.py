"""An answer with all that reading it may need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from migbench.boxes import Box
from migbench.corrections import Correction
from migbench.dialects import Dialect, Reading, read
from migbench.messages import ImageFile, Size
from migbench.questions import Question
from migbench.run_store import AnswerLine


@dataclass(frozen=True, slots=True)
class AnswerInContext:
    """One answered question: what was asked, what was said, and in which dialect.

    ``image`` finds image files where sizes in pixels are needed and the run did not keep them.
    """

    question: Question
    line: AnswerLine
    dialect: Dialect
    correction: Correction | None = None
    image: Callable[[str], ImageFile] | None = None

    @property
    def text(self) -> str:
        """The raw answer."""
        return self.line.text or ""

    def sizes(self) -> Sequence[Size] | None:
        """The images' sizes in pixels, where the dialect needs them and they can be had."""
        if not self.dialect.convention.needs_size:
            return None
        if self.line.sizes is not None:
            return [Size(*size) for size in self.line.sizes]
        if self.image is None:
            return None
        return [self.image(name).size() for name in self.question.images]

    def read(self) -> Reading:
        """The answer, read in the declared dialect."""
        return read(
            self.dialect,
            self.text,
            truncated=self.line.truncated,
            sizes=self.sizes(),
            image=self.question.targets[0].target_image,
        )

    def corrected(self, box: Box, boxes_in_answer: int) -> Box:
        """The box after the model's correction, which applies to single boxes alone."""
        if self.correction is None or boxes_in_answer != 1:
            return box
        return self.correction.apply(box)

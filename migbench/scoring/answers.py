"""An answer that grounds, with all that reading it may need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from migbench.asking.questions import Asked, Question, Turn
from migbench.boxes import Box
from migbench.dialects import Dialect, ParsedAnswer, parse
from migbench.messages import ImageFile, Size
from migbench.models.corrections import Correction
from migbench.runs.store import AnswerLine


@dataclass(frozen=True)
class AnswerInContext:
    """One answered turn: what was asked, what was shown, what was said, and in which dialect.

    ``image`` finds image files where sizes in pixels are needed and the run did not keep them.
    """

    question: Question
    turn: Turn
    line: AnswerLine
    dialect: Dialect
    strategy: str = "direct"
    correction: Correction | None = None
    image: Callable[[str], ImageFile] | None = None

    @property
    def text(self) -> str:
        """The raw answer."""
        return self.line.text or ""

    @cached_property
    def asked(self) -> list[Asked]:
        """The boxes that this answer is to give."""
        return [self.question.asked[place] for place in self.turn.grounds]

    def sizes(self) -> Sequence[Size] | None:
        """The shown images' sizes in pixels, where the dialect needs them and they can be had."""
        if not self.dialect.needs_size:
            return None
        kept = [self.line.size(index) for index in self.turn.images]
        if all(size is not None for size in kept):
            return [size for size in kept if size is not None]
        if self.image is None:
            return None
        return [self.image(self.question.images[index]).size() for index in self.turn.images]

    def parse(self) -> ParsedAnswer:
        """The answer, parsed in the declared dialect; images are those shown, in their order."""
        shown = self.turn.images
        targets = [asked.instances[0].target_image for asked in self.asked]
        return parse(
            self.dialect,
            self.text,
            label_kind=self.asked[0].noun,
            truncated=self.line.truncated,
            sizes=self.sizes(),
            default_images=[shown.index(image) if image in shown else 0 for image in targets],
            image_is_asked=len(self.asked) == 1 and self.asked[0].number is not None,
        )

    def corrected(self, box: Box, boxes_in_answer: int) -> Box:
        """The box after the model's correction, which applies to single boxes alone."""
        if self.correction is None or boxes_in_answer != 1:
            return box
        return self.correction.apply(box)

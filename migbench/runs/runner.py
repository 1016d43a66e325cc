"""Driving questions through a model: in order of image sets, many at once, nothing lost.

Each question's strategy is a generator; the runner asks its turns, stores every answer as it lands,
and skips what is stored already. One request's failure is recorded and the rest go on.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from migbench.asking.dialogue import Dialogue
from migbench.asking.questions import Question, Strategy, Turn, by_image_set
from migbench.dialects import PromptSet, ask
from migbench.messages import Adapter, ImageFile, Request, Size
from migbench.models.boundary import Checked, Failure, answer_from, closed, max_concurrency_of
from migbench.models.resolving import Model
from migbench.runs.answer_lines import AnswerLine, with_answer
from migbench.runs.patience import PATIENCE, OutOfPatience, Patience
from migbench.runs.run_log import RunLog
from migbench.runs.served import ServerRecord
from migbench.runs.store import RunStore
from migbench.runs.watchdog import SLOW_AFTER, Watchdog
from migbench.util.daemon_threads import DaemonThreads

GIVE_UP_AFTER = 50
"""Failures in a row, with no answer at all, after which the model is taken to be down."""
_ALONE_SECONDS = 10.0
"""How long the first question is asked alone."""


@dataclass
class Progress:
    """What a run has done so far.

    ``on_question`` is called whenever a question is over, ``on_slow`` when a request about it has
    been under way for so many seconds, from a thread of its own. ``on_failure`` gets whatever an
    adapter raised. ``on_down`` is told why the model's server cannot be reached, after how many
    seconds it is tried again, and for how many more; None for a reason says that it is back. Where
    ``on_first`` is given and nothing is answered yet, the first question is asked alone, and passed
    to it.
    """

    on_question: Callable[[Question, AnswerLine], None] = lambda question, line: None
    on_slow: Callable[[str, float], None] = lambda question, seconds: None
    on_failure: Callable[[str, Failure], None] = lambda question, failure: None
    on_down: Callable[[str | None, float, float], None] = lambda reason, pause, left: None
    on_first: Callable[[Question, AnswerLine], None] | None = None
    asked: int = 0
    failed: int = 0
    answered_any: bool = False
    last_error: str = ""
    gave_up: bool = False
    out_of_patience: bool = False
    """Whether the run was ended because the model's server did not come back."""
    was_finished: bool = False
    """Every question was answered before: no model was started."""


@dataclass
class Runner:
    """One run under way.

    ``image`` finds an image set's files by name. Requests that take longer than ``slow_after``
    seconds are named (see `Watchdog`).
    """

    store: RunStore
    adapter: Adapter
    strategy: Callable[[Question], Strategy]
    image: Callable[[str], ImageFile]
    prompts: PromptSet = PromptSet.RELEASED
    progress: Progress = field(default_factory=Progress)
    slow_after: float = SLOW_AFTER
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        """Begin with nothing under way."""
        self._model = self.store.settings.model
        self._turn = asyncio.Lock()
        self._in_flight: dict[str, asyncio.Future[AnswerLine | None]] = {}
        self._log = RunLog(self.store.folder)
        self._watchdog = Watchdog(self.slow_after, self._report_slow)
        self._patience = Patience(self.patience, self._report_down)
        # A thread of its own: a disk that does not answer must keep nothing from ending.
        self._reading = DaemonThreads(1, "images")

    async def run(self, questions: Sequence[Question]) -> None:
        """Ask all questions; every answer or failure is in the store when this returns."""
        with self._log:
            await self._ask_all(questions)

    async def _ask_all(self, questions: Sequence[Question]) -> None:
        waiting = iter(by_image_set(questions))
        servers = ServerRecord(self.adapter, self.store, self._log)
        try:
            with self._watchdog:
                await servers.start()
                async with asyncio.TaskGroup() as group:
                    first = group.create_task(self._ask_first(waiting))
                    await asyncio.wait([first], timeout=_ALONE_SECONDS)
                    for _ in range(min(max(1, max_concurrency_of(self.adapter)), len(questions))):
                        group.create_task(self._work(waiting))
                await servers.end()
        except BaseExceptionGroup as several:
            # What ends a run (a full disk, say) hits every worker; one report of it is enough.
            raise several.exceptions[0] from None
        finally:
            self._reading.close(0)
            if (failure := await closed(self.adapter)) is not None:
                self._log.trouble("closing the adapter", failure)

    async def _ask_first(self, waiting: Iterator[Question]) -> None:
        """Ask the first question of a new run, which is seen before all others go."""
        if self.progress.on_first is None or self.store.by_key:
            return
        for question in islice(waiting, 1):
            if (line := await self._over(question)) is not None:
                self.progress.on_first(question, line)

    async def _work(self, waiting: Iterator[Question]) -> None:
        """Take questions one by one; as many of these run as the adapter takes at once."""
        for question in waiting:
            if self.progress.gave_up:
                return
            await self._over(question)

    async def _over(self, question: Question) -> AnswerLine | None:
        """The last line of a question; None where the run ends for want of a server."""
        try:
            line = await self._answer_question(question)
        except OutOfPatience as end:
            self.progress.gave_up = self.progress.out_of_patience = True
            self.progress.last_error = str(end)
            return None
        self.progress.on_question(question, line)
        return line

    async def _answer_question(self, question: Question) -> AnswerLine:
        """Ask every turn of a question; the line of its last turn."""
        dialogue = Dialogue(self.strategy(question))
        for turn in dialogue:
            line = await self._answer_turn(question, dialogue.number, turn)
            dialogue.tell(line.answer)
        return line

    async def _answer_turn(self, question: Question, number: int, turn: Turn) -> AnswerLine:
        blank = AnswerLine(question=question.id, turn=number)
        try:
            if self.adapter.needs_images:
                # First come, first served: threads that overtake each other would mix image sets.
                async with self._turn:
                    request, blank = await asyncio.get_running_loop().run_in_executor(
                        self._reading, self._prepare, question, turn, blank
                    )
            else:
                request, blank = self._prepare(question, turn, blank)
        # An image that cannot be read (no permission, a failing disk) or a text that cannot be
        # encoded costs its own question alone.
        except Exception as error:
            return self._record(self._failed(blank, Failure(error)))
        stored = self.store.lines.get((question.id, number))
        if stored is not None and stored.text is not None and stored.key == blank.key:
            self.progress.answered_any = True
            return stored
        same = await self._equal_request(blank.key)
        if same is None:
            return await self._ask(request, blank)
        return self._record(
            msgspec.structs.replace(
                same, question=question.id, turn=number, prompt=blank.prompt, reused=True
            )
        )

    def _prepare(
        self, question: Question, turn: Turn, blank: AnswerLine
    ) -> tuple[Request, AnswerLine]:
        """The request, and the line with all that is known before it is answered. Reads images."""
        model = self._model
        images = [self.image(name) for name in question.images]
        request = ask(
            model.dialect, turn, images, prompts=self.prompts, generation=model.generation
        )
        sizes: list[Size] | None = None
        if model.dialect.needs_size and self.adapter.needs_images:
            sizes = [image.size() for image in images]
        line = msgspec.structs.replace(
            blank,
            key=request_key(model, request),
            prompt=request.text(model.dialect.image_token),
            sizes=sizes,
        )
        return request, line

    async def _equal_request(self, key: str) -> AnswerLine | None:
        """What came of an equal request: stored, or awaited if it is in flight, failures too."""
        if key in self.store.by_key:
            return self.store.by_key[key]
        if key in self._in_flight:
            # None where the run ends before it is answered, as it will for whoever asks again.
            return await asyncio.shield(self._in_flight[key])
        return None

    async def _ask(self, request: Request, blank: AnswerLine) -> AnswerLine:
        future = asyncio.get_running_loop().create_future()
        self._in_flight[blank.key] = future
        self.progress.asked += 1
        line = None

        async def answered() -> Checked:
            with self._watchdog.request(blank.question):
                return await answer_from(self.adapter, request)

        try:
            checked = await self._patience.outlast(answered)
            line = with_answer(blank, checked.answer)
            for remark in checked.remarks:
                self._log.remark(blank.question, blank.turn, remark)
        except Failure as failure:
            line = self._failed(blank, failure)
        finally:
            del self._in_flight[blank.key]
            future.set_result(line)
        return self._record(line)

    def _failed(self, blank: AnswerLine, failure: Failure) -> AnswerLine:
        """The line of a request without an answer; the traceback goes to the log."""
        self._log.failure(blank.question, blank.turn, failure)
        self.progress.on_failure(blank.question, failure)
        return msgspec.structs.replace(blank, error=failure.message)

    def _report_slow(self, question: str, seconds: float) -> None:
        self._log.slow(question, seconds)
        self.progress.on_slow(question, seconds)

    def _report_down(self, reason: str | None, pause: float, left: float) -> None:
        self._log.down(reason, pause)
        self.progress.on_down(reason, pause, left)

    def _record(self, line: AnswerLine) -> AnswerLine:
        """Store a line, and count it."""
        self.store.append(line)
        if line.text is not None:
            self.progress.answered_any = True
            return line
        self.progress.failed += 1
        self.progress.last_error = line.error or ""
        if not self.progress.answered_any and self.progress.failed >= GIVE_UP_AFTER:
            self.progress.gave_up = True
        return line


def request_key(model: Model, request: Request) -> str:
    """SHA-256 of the model, the request's texts, its images' bytes and the generation settings."""
    digest = hashlib.sha256(f"{model.name}|{model.checkpoint}|{model.revision}".encode())
    for part in request.identity():
        digest.update(b"\0" + part.encode())
    return digest.hexdigest()

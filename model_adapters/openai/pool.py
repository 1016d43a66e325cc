"""Who goes next, and where: image sets in their order, each at one endpoint, a leader first.

A server answers the second question about an image set faster than the first, because it keeps what
it computed for the images. So a set stays at one endpoint, as long as that is well, and its first
request goes alone: the siblings follow when it is answered, or when it has failed and the next of
them leads. Whoever waits holds no slot; a slot that comes free goes to the earliest set that has a
request to send there, so that few sets are open at once.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

from model_adapters.openai.endpoints import AttemptFailed, Endpoint

_ATTEMPTS_AT_PROXY = 4
"""After so many attempts in a row that a proxy turned away, its server is taken to be down."""


class ImageSet:
    """The requests about one image set: where they go, and who of them waits.

    ``is_warm`` tells whether ``endpoint`` has answered one of them.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.endpoint: Endpoint | None = None
        self.leader: Turn | None = None
        self.is_warm = False
        self.waiting: list[Turn] = []

    def settle(self, endpoint: Endpoint) -> None:
        """Go to this endpoint from now on, which has none of the images yet if it is a new one."""
        if self.endpoint is not endpoint:
            self.endpoint = endpoint
            self.leader = None
            self.is_warm = False


class Turn:
    """One request's way through the pool; it ``holds_slot`` at ``endpoint``, or waits for one.

    ``began`` is when its present attempt did, ``asked`` when the first one did. ``failed_at`` are
    the endpoints that let it down: it is not what these are tried with when they have rested.
    """

    endpoint: Endpoint
    granted: asyncio.Future[None]
    began: float
    asked: float

    def __init__(self, number: int, image_set: ImageSet) -> None:
        self.number = number
        self.image_set = image_set
        self.holds_slot = False
        self.failed_at: set[Endpoint] = set()


class Pool:
    """Grants the slots of the endpoints to requests. Used from one event loop."""

    def __init__(self, endpoints: Sequence[Endpoint], *, leader_first: bool) -> None:
        self._endpoints = endpoints
        self._leader_first = leader_first
        self._numbers = count()
        # Kept for the whole run: the later turns of a conversation find their way back.
        self._sets: dict[str, ImageSet] = {}
        self._waiting: list[ImageSet] = []
        self._alarm: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[Turn]:
        """A slot for a request about the image set of this name, held until the block ends.

        Requests without a name are sets of their own.
        """
        number = next(self._numbers)
        image_set = self._sets.setdefault(name, ImageSet(number)) if name else ImageSet(number)
        turn = Turn(number, image_set)
        await self._wait(turn)
        turn.began = turn.asked = _now()
        try:
            yield turn
        finally:
            self._give_back(turn)
            self._grant()

    def answered(self, turn: Turn) -> None:
        """The turn's request got an answer, or was refused for a reason of its own."""
        turn.endpoint.answered(_now())
        if turn.image_set.endpoint is turn.endpoint:
            turn.image_set.is_warm = True

    def failed(self, turn: Turn, failure: AttemptFailed) -> None:
        """The turn's present attempt failed."""
        if not failure.strikes:
            turn.endpoint.answered(_now())
        elif len(self._endpoints) > 1:  # An only one has none that could stand in for it.
            turn.endpoint.failed(failure, began=turn.began, now=_now())
            turn.failed_at.add(turn.endpoint)
        # Others may go elsewhere now, or here again.
        self._grant()

    def seems_down(self, turn: Turn, failure: AttemptFailed, attempts: int) -> bool:
        """Whether no request would fare better now: nothing listens at any endpoint.

        The same is taken to be so where a proxy has said several times that there is no server, and
        nobody got an answer since the turn's request was first sent.
        """
        if self.can_move(turn):
            return False
        silent = turn.endpoint.answered_at <= turn.asked
        return failure.no_connection or (
            failure.no_backend and silent and attempts >= _ATTEMPTS_AT_PROXY
        )

    def can_move(self, turn: Turn) -> bool:
        """Whether the turn's endpoint is set aside and another one is well."""
        return not turn.endpoint.is_well and any(one.is_well for one in self._endpoints)

    async def again(self, turn: Turn) -> None:
        """Go on to another attempt: in the slot held, or in one elsewhere if that is better."""
        if self.can_move(turn):
            turn.endpoint.moved_away += 1
            self._give_back(turn)
            await self._wait(turn)
        turn.began = _now()

    def close(self) -> None:
        """Say which endpoints were set aside, and stop looking after them."""
        if self._alarm is not None:
            self._alarm.cancel()
        for endpoint in self._endpoints:
            endpoint.report()

    async def _wait(self, turn: Turn) -> None:
        """Wait for a slot, in the turn's place in the order."""
        turn.granted = asyncio.get_running_loop().create_future()
        image_set = turn.image_set
        if not image_set.waiting:
            insort(self._waiting, image_set, key=lambda one: one.number)
        insort(image_set.waiting, turn, key=lambda one: one.number)
        self._grant()
        try:
            await turn.granted
        except asyncio.CancelledError:
            # A slot may have been granted just before.
            self._give_back(turn)
            self._grant()
            raise

    def _give_back(self, turn: Turn) -> None:
        if turn.holds_slot:
            turn.endpoint.under_way -= 1
            turn.holds_slot = False
        if turn.image_set.leader is turn:
            turn.image_set.leader = None

    def _grant(self) -> None:
        """Give every slot that is free to the first in the order who may have it."""
        if not self._waiting:
            return
        now = _now()
        any_well = any(one.is_well for one in self._endpoints)
        rooms = {one: one.room(now, any_well=any_well) for one in self._endpoints}
        for image_set in self._waiting:
            while image_set.waiting and (place := self._place(image_set, rooms, any_well)):
                turn = image_set.waiting.pop(0)
                if turn.granted.done():
                    continue  # Cancelled while it waited.
                image_set.settle(place)
                if not image_set.is_warm:
                    image_set.leader = turn
                rooms[place] -= 1
                place.under_way += 1
                place.served += 1
                turn.endpoint, turn.holds_slot = place, True
                turn.granted.set_result(None)
            if all(room <= 0 for room in rooms.values()):
                break
        self._waiting = [one for one in self._waiting if one.waiting]
        self._set_alarm(now)

    def _place(
        self, image_set: ImageSet, rooms: dict[Endpoint, int], any_well: bool
    ) -> Endpoint | None:
        """Where the set's next request may go now."""
        settled = image_set.endpoint
        if settled is not None and (settled.is_well or not any_well):
            leads = image_set.is_warm or image_set.leader is None or not self._leader_first
            return settled if leads and rooms[settled] > 0 else None
        shunned = image_set.waiting[0].failed_at if any_well else set()
        free = [
            one for one, room in rooms.items() if room > 0 and (one.is_well or one not in shunned)
        ]
        return min(free, key=lambda one: (one.under_way, one.served), default=None)

    def _set_alarm(self, now: float) -> None:
        """See to it that an endpoint at rest is tried when its time has come."""
        ends = [one.rests_until for one in self._endpoints if one.rests_until is not None]
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._waiting and (later := [end for end in ends if end > now]):
            self._alarm = asyncio.get_running_loop().call_at(min(later), self._grant)


def _now() -> float:
    return asyncio.get_running_loop().time()

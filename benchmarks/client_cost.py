"""What a request costs its client: migbench beside lmms-eval and bare HTTP clients.

    python benchmarks/client_cost.py --lmms-python .venv-lmms/bin/python --json client_cost.json
    python benchmarks/client_cost.py --requests 50 --rounds 1        # a quick look

Every client sends the same questions about the same image files to a null server, 32 at once, in a
process of its own; lmms-eval a part of them, evenly from the tasks, since it takes minutes. CPU is
user and system time of that process, a start with one request taken off; of several rounds the
least counts, since what else the machine does can only add to it. Compare clients of one run of
this script, never figures of two. Ends with status 1 where a client failed.
"""

from __future__ import annotations

import argparse
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import lmms_client
from bare_client import CONCURRENCY, installed_httpx, read_requests
from measuring import Usage, measured, recorded, table
from null_server import Arrival, null_server, read_log

HERE = Path(__file__).parent
FLOOR = "aiohttp, bare"
CACHED_SETS = 32
"""Image sets in the imagined prefix cache whose misses are counted."""


@dataclass(frozen=True)
class Client:
    """A client of the comparison; ``missing`` says why it cannot take part.

    ``requests`` is how many it sends, and ``python`` the interpreter that has it.
    """

    name: str
    kind: str
    requests: int
    missing: str = ""
    python: str = sys.executable
    options: tuple[str, ...] = ()

    def command(self, url: str, data: Path, out: Path, count: int) -> list[str]:
        """How to send the first ``count`` requests, or one."""
        if switches := lmms_client.SWITCHES.get(self.kind):
            return lmms_client.command(
                self.python, switches, url, data, out, count, concurrency=CONCURRENCY
            )
        if self.kind != "migbench":
            script = str(HERE / "bare_client.py")
            return [self.python, script, self.kind, url, str(data), f"--count={count}"]
        first = ["--limit=1", "--tasks=common_object"] if count == 1 else []
        return [
            *(self.python, "-m", "migbench", "run", "--model=served", "--adapter=openai"),
            *(f"--endpoint={url}", f"--model-arg=concurrency={CONCURRENCY}"),
            *("--dialect=qwen2-vl", f"--data={data / 'annotations.json'}"),
            *(f"--out={out}", *first, *self.options),
        ]

    def check(self, out: Path, count: int) -> None:
        """Raise RuntimeError unless all was answered, where the exit status does not tell."""
        if self.kind in lmms_client.SWITCHES:
            lmms_client.check(out, count)


@dataclass(frozen=True)
class Figures:
    """What one client was measured to do. Megabytes are millions of bytes, of memory 2**20."""

    client: str
    requests: int
    cpu_ms_per_request: float
    to_floor: float
    mb_per_request: float
    images: int
    image_sets: int
    peak_mb: float
    first_request_seconds: float
    one_request_seconds: float
    wall_seconds: float
    image_set_runs_begun: int
    image_set_runs_ended: int
    cache_misses: int


@dataclass(frozen=True)
class Round:
    """One client's start with one request, its whole run, and what the server saw of that."""

    start: Usage
    whole: Usage
    arrivals: list[Arrival]

    @property
    def first_seconds(self) -> float:
        """From the start of the whole run's process to its first request."""
        return min(arrival.at for arrival in self.arrivals) - self.whole.started


def clients(options: argparse.Namespace) -> list[Client]:
    """The comparison's clients, those that cannot take part too."""
    httpx = installed_httpx()
    lmms = Path(options.lmms_python or "")
    missing = "" if lmms.is_file() else f"no {lmms}" if options.lmms_python else "no --lmms-python"
    few = min(options.requests, options.lmms_requests)
    return [
        Client("migbench run", "migbench", options.requests),
        Client(
            "migbench, no leaders",
            "migbench",
            options.requests,
            options=("--model-arg=leader_first=false",),
        ),
        Client(FLOOR, "aiohttp", options.requests),
        Client(
            f"{httpx or 'httpx'}, bare", "httpx", options.requests, "" if httpx else "not installed"
        ),
        *(
            Client(f"lmms-eval, {kind}", kind, few, missing, options.lmms_python)
            for kind in lmms_client.SWITCHES
        ),
    ]


def one_round(client: Client, data: Path, folder: Path) -> Round:
    """Measure a client once. Raises RuntimeError where it did not do what it should."""
    usages: list[Usage] = []
    arrivals: list[Arrival] = []
    for number in (1, client.requests):
        with TemporaryDirectory(dir=folder) as name:
            place = Path(name)
            with null_server(place) as (url, log):
                command = client.command(url, data, place / "run", number)
                usages.append(measured(command, place / "client.err"))
            client.check(place / "run", number)
            arrivals = read_log(log)
        asked = read_requests(data, number)
        due = len(asked), sum(len(request["images"]) for request in asked)
        sent = len(arrivals), sum(arrival.images for arrival in arrivals)
        if sent != due:
            raise RuntimeError(
                f"sent {sent[0]} of {due[0]} requests, and {sent[1]} of {due[1]} images"
            )
    return Round(usages[0], usages[1], arrivals)


def cpu_ms(rounds: Sequence[Round]) -> float:
    """CPU milliseconds a request, without the start: the least of either, not of their difference.

    A start that the machine disturbed would make the difference too small.
    """
    whole = min(one.whole.cpu_seconds for one in rounds)
    start = min(one.start.cpu_seconds for one in rounds)
    return 1000 * (whole - start) / max(1, len(rounds[0].arrivals) - 1)


def figures(client: Client, rounds: Sequence[Round], floor_ms: float) -> Figures:
    """The least of every cost; what arrived is the last round's."""
    arrivals = rounds[-1].arrivals
    ended = [arrival.image_set for arrival in arrivals]
    begun = [one.image_set for one in sorted(arrivals, key=lambda one: one.begun)]
    return Figures(
        client=client.name,
        requests=client.requests,
        cpu_ms_per_request=cpu_ms(rounds),
        to_floor=cpu_ms(rounds) / floor_ms,
        mb_per_request=sum(arrival.bytes for arrival in arrivals) / len(arrivals) / 1e6,
        images=sum(arrival.images for arrival in arrivals),
        image_sets=len(set(ended)),
        peak_mb=min(one.whole.peak_mb for one in rounds),
        first_request_seconds=min(one.first_seconds for one in rounds),
        one_request_seconds=min(one.start.wall_seconds for one in rounds),
        wall_seconds=min(one.whole.wall_seconds for one in rounds),
        image_set_runs_begun=runs(begun),
        image_set_runs_ended=runs(ended),
        cache_misses=misses(ended, CACHED_SETS),
    )


def runs(sets: Iterable[str]) -> int:
    """How often a request shows another image set than the one before it, the first included."""
    last = None
    count = 0
    for one in sets:
        count += one != last
        last = one
    return count


def misses(sets: Iterable[str], size: int) -> int:
    """How often an image set is not among the ``size`` that were used last."""
    recent: OrderedDict[str, None] = OrderedDict()
    count = 0
    for one in sets:
        count += one not in recent
        recent[one] = None
        recent.move_to_end(one)
        if len(recent) > size:
            recent.popitem(last=False)
    return count


def show(found: Sequence[Figures], absent: Mapping[str, str]) -> str:
    """The table, and what its columns are; ``absent`` holds reasons by client."""
    header = [
        *("Client", "Requests", "CPU ms", "x floor", "MB sent", "Peak MB"),
        *("First s", "Start s", "Sets", "Runs begun", "Runs ended", "Misses"),
    ]
    rows = [
        [
            one.client,
            str(one.requests),
            f"{one.cpu_ms_per_request:.2f}",
            f"{one.to_floor:.2f}",
            f"{one.mb_per_request:.2f}",
            f"{one.peak_mb:.0f}",
            f"{one.first_request_seconds:.2f}",
            f"{one.one_request_seconds:.2f}",
            str(one.image_sets),
            str(one.image_set_runs_begun),
            str(one.image_set_runs_ended),
            str(one.cache_misses),
        ]
        for one in found
    ]
    return "\n".join(
        [
            table(header, rows),
            *(f"{name}: NOT MEASURED, {reason}" for name, reason in absent.items()),
            "",
            "CPU and MB sent are per request. First: until the first request; Start: a whole run "
            "of one request.",
            "Runs: consecutive requests about one image set, in order of their first bytes (begun) "
            "and of their last (ended);",
            f"Misses: of a cache of the {CACHED_SETS} sets used last. Ideally each is the number "
            "of sets.",
        ]
    )


def render(folder: Path, count: int, seed: int) -> Path:
    """The folder of the first ``count`` requests; in a process of its own, see `measuring`."""
    data = folder / f"data-{count}"
    if not data.is_dir():
        writer = [sys.executable, str(HERE / "workload.py"), str(data)]
        measured([*writer, f"--requests={count}", f"--seed={seed}"], folder / "data.err")
    return data


def compare(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Render, measure all clients in turn, print the table; the JSON record."""
    every = clients(options)
    absent = {client.name: client.missing for client in every if client.missing}
    failed: dict[str, str] = {}
    rounds: dict[str, list[Round]] = {client.name: [] for client in every}
    for _ in range(options.rounds):
        for client in every:
            if client.name in absent | failed:
                continue
            data = render(folder, client.requests, options.seed)
            try:
                rounds[client.name].append(one_round(client, data, folder))
            except RuntimeError as error:
                failed[client.name] = f"it failed: {error}"
    if FLOOR in failed:
        raise SystemExit(f"{FLOOR}: {failed[FLOOR]}")
    floor = cpu_ms(rounds[FLOOR])
    found = [
        figures(client, rounds[client.name], floor)
        for client in every
        if client.name not in absent | failed
    ]
    print(show(found, absent | failed))
    return {
        "requests": options.requests,
        "rounds": options.rounds,
        "concurrency": CONCURRENCY,
        "clients": [asdict(one) for one in found],
        "absent": absent,
        "failed": failed,
    }


def main() -> None:
    """Read the options, compare, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=500, help="at most 500")
    parser.add_argument("--lmms-python", help="interpreter of an environment with lmms-eval")
    parser.add_argument("--lmms-requests", type=int, default=100, help="at most --requests")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the record to this file")
    options = parser.parse_args()
    if recorded("client_cost", options, compare)["failed"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

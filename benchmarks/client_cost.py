"""What a request costs its client: migbench beside bare HTTP clients, against a null server.

    python benchmarks/client_cost.py --json client_cost.json
    python benchmarks/client_cost.py --requests 50 --rounds 1        # a quick look

Every client sends the same questions about the same image files, 32 at once, in a process of its
own. CPU is user and system time of that process, a start with one request taken off; of several
rounds the least counts, since what else the machine does can only add to it. Compare clients of
one run of this script, never figures of two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from bare_client import CONCURRENCY, installed_httpx
from measuring import Usage, measured, table
from null_server import Arrival, null_server, read_log

HERE = Path(__file__).parent
FLOOR = "aiohttp, bare"
CACHED_SETS = 32
"""Image sets in the imagined prefix cache whose misses are counted."""


@dataclass(frozen=True)
class Client:
    """A client of the comparison; ``missing`` says why it cannot take part."""

    name: str
    kind: str
    missing: str = ""
    options: tuple[str, ...] = ()

    def command(self, url: str, data: Path, out: Path, count: int) -> list[str]:
        """How to send the first ``count`` requests, or one."""
        if self.kind != "migbench":
            script = str(HERE / "bare_client.py")
            return [sys.executable, script, self.kind, url, str(data), f"--count={count}"]
        first = ["--limit=1", "--tasks=common_object"] if count == 1 else []
        return [
            *(sys.executable, "-m", "migbench", "run", "--model=served", "--adapter=openai"),
            *(f"--endpoint={url}", f"--model-arg=concurrency={CONCURRENCY}"),
            *("--dialect=qwen2-vl", f"--data={data / 'annotations.json'}"),
            *(f"--out={out}", *first, *self.options),
        ]


@dataclass(frozen=True)
class Figures:
    """What one client was measured to do. Megabytes are millions of bytes, of memory 2**20."""

    client: str
    cpu_ms_per_request: float
    to_floor: float
    mb_per_request: float
    images: int
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

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds a request, without the start."""
        further = max(1, len(self.arrivals) - 1)
        return 1000 * (self.whole.cpu_seconds - self.start.cpu_seconds) / further


def clients() -> list[Client]:
    """The comparison's clients, those that are not installed too."""
    httpx = installed_httpx()
    # There is no driver for lmms-eval here yet; nothing may look as if it had been measured.
    lmms = "not driven yet" if find_spec("lmms_eval") else "not installed"
    return [
        Client("migbench run", "migbench"),
        Client("migbench, no leaders", "migbench", options=("--model-arg=leader_first=false",)),
        Client(FLOOR, "aiohttp"),
        Client(f"{httpx or 'httpx'}, bare", "httpx", "" if httpx else "not installed"),
        Client("lmms-eval async_openai", "lmms-eval", lmms),
    ]


def one_round(client: Client, data: Path, folder: Path, count: int) -> Round:
    """Measure a client once. Raises RuntimeError where it did not send what it should."""
    usages: list[Usage] = []
    arrivals: list[Arrival] = []
    for number in (1, count):
        place = folder / str(number)
        with null_server(place) as (url, log):
            command = client.command(url, data, place / "run", number)
            usages.append(measured(command, place / "client.err"))
        arrivals = read_log(log)
        if len(arrivals) != number:
            raise RuntimeError(f"{client.name}: sent {len(arrivals)} of {number} requests")
        shutil.rmtree(place)
    return Round(usages[0], usages[1], arrivals)


def figures(client: Client, rounds: Sequence[Round], floor_ms: float) -> Figures:
    """The least of every cost; what arrived is the last round's."""
    arrivals = rounds[-1].arrivals
    ended = [arrival.image_set for arrival in arrivals]
    begun = [one.image_set for one in sorted(arrivals, key=lambda one: one.begun)]
    cpu_ms = min(one.cpu_ms for one in rounds)
    return Figures(
        client=client.name,
        cpu_ms_per_request=cpu_ms,
        to_floor=cpu_ms / floor_ms,
        mb_per_request=sum(arrival.bytes for arrival in arrivals) / len(arrivals) / 1e6,
        images=sum(arrival.images for arrival in arrivals),
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


def show(found: Sequence[Figures], absent: Sequence[Client], ideal: int) -> str:
    """The table, and what its columns are."""
    header = [
        *("Client", "CPU ms", "x floor", "MB sent", "Peak MB"),
        *("First s", "Start s", "Runs begun", "Runs ended", "Misses"),
    ]
    rows = [
        [
            one.client,
            f"{one.cpu_ms_per_request:.2f}",
            f"{one.to_floor:.2f}",
            f"{one.mb_per_request:.2f}",
            f"{one.peak_mb:.0f}",
            f"{one.first_request_seconds:.2f}",
            f"{one.one_request_seconds:.2f}",
            str(one.image_set_runs_begun),
            str(one.image_set_runs_ended),
            str(one.cache_misses),
        ]
        for one in found
    ]
    rows += [[one.name, one.missing, *[""] * (len(header) - 2)] for one in absent]
    return (
        f"{table(header, rows)}\n\n"
        "CPU and MB sent are per request. First: until the first request; Start: a whole run of "
        "one request.\nRuns: consecutive requests about one image set, in order of their first "
        "bytes (begun) and of their last (ended);\n"
        f"Misses: of a cache of the {CACHED_SETS} sets used last. Ideally each is {ideal}, the "
        "number of sets."
    )


def compare(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Render, measure all clients in turn, print the table; the JSON record."""
    data = folder / "data"
    # In a process of its own: see `measuring` on memory.
    writer = [sys.executable, str(HERE / "workload.py"), str(data)]
    folder.mkdir(parents=True, exist_ok=True)
    measured(
        [*writer, f"--requests={options.requests}", f"--seed={options.seed}"], folder / "data.err"
    )
    present = [client for client in clients() if not client.missing]
    absent = [client for client in clients() if client.missing]
    rounds: dict[str, list[Round]] = {client.name: [] for client in present}
    for _ in range(options.rounds):
        for client in present:
            rounds[client.name].append(one_round(client, data, folder / "at", options.requests))
    floor = min(one.cpu_ms for one in rounds[FLOOR])
    found = [figures(client, rounds[client.name], floor) for client in present]
    ideal = len({arrival.image_set for arrival in rounds[FLOOR][0].arrivals})
    print(show(found, absent, ideal))
    return {
        "benchmark": "client_cost",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "requests": options.requests,
        "rounds": options.rounds,
        "concurrency": CONCURRENCY,
        "image_sets": ideal,
        "clients": [asdict(one) for one in found],
        "absent": {client.name: client.missing for client in absent},
    }


def main() -> None:
    """Read the options, compare, and write the record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=500, help="at most 500")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the record to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="migbench-") as folder:
        record = compare(options, Path(folder))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()

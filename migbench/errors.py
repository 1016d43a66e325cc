"""Every error that migbench raises on purpose.

::

    MigbenchError
    ├── UsageError      the request cannot be carried out as asked     exit status 2
    ├── DataError       a file is not what it should be                exit status 2
    ├── AdapterError    a model could not be started                   exit status 2
    └── ModelError      one request got no answer; recorded, never fatal
        └── ServerDown  no request would get one now; the run waits

A message says what is wrong, where (file, line, instance) and what to do about it. The command
line prints it without a traceback.
"""

from __future__ import annotations


def shortened(value: object, most: int = 200) -> str:
    """A value of a file as a message quotes it, however long it is."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


class MigbenchError(Exception):
    """Base of all errors that are meant for the user's eyes."""


class UsageError(MigbenchError):
    """What was asked for does not exist or does not fit together (option, profile, run)."""


class DataError(MigbenchError):
    """An annotation, image, task, profile or run file is missing, malformed or out of bounds."""


class AdapterError(MigbenchError):
    """A model could not be started: a package is missing, a checkpoint does not load."""


class ModelError(MigbenchError):
    """One request got no answer, after all retries.

    The run records the reason, goes on with the other requests, and asks again when it is resumed.
    """


class ServerDown(ModelError):
    """The model's server cannot be reached: a run asks the same again later, and nothing else.

    It is recorded for no question. A run waits as long as its user lets it, and then stops.
    """


class Interrupted(KeyboardInterrupt):
    """The user has pressed Ctrl-C during a run; a KeyboardInterrupt of an adapter's is none."""

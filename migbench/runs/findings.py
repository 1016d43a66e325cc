"""What verifying a stored run finds: one thing a finding, in a sentence."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from migbench.util.plain_text import encodable


class FindingKind(StrEnum):
    """What a finding means for the run."""

    CHANGED = "changed"
    """The run, or what it was made from, is not what it was."""
    UNSEALED = "unsealed"
    """Whether it was changed cannot be told: nothing vouches for what is stored."""
    INCOMPLETE = "incomplete"
    """Nothing was changed, but answers are wanting."""
    REMARK = "remark"
    """Worth knowing; the run holds."""


class Finding(msgspec.Struct, frozen=True):
    """One finding, and whether it is about ``answers``, ``tasks``, ``packages`` or what else."""

    kind: FindingKind
    about: str
    message: str


def changed(about: str, message: str) -> Finding:
    """Something that is not what it was."""
    return Finding(FindingKind.CHANGED, about, encodable(message))


def remark(about: str, message: str) -> Finding:
    """Something worth knowing."""
    return Finding(FindingKind.REMARK, about, encodable(message))


def unsealed(about: str, message: str) -> Finding:
    """Something that nothing vouches for."""
    return Finding(FindingKind.UNSEALED, about, encodable(message))

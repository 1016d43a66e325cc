"""Stands in for torchaudio in the test environment alone.

LLaMA-Factory imports torchaudio wherever it prepares data and needs it for sound, which no record
here has. The published wheel does not load beside a CPU build of torch.
"""

from __future__ import annotations


def __getattr__(name: str) -> object:
    """Nothing is here. Raises AttributeError, which says so."""
    raise AttributeError(f"torchaudio.{name}: torchaudio is replaced by a stand-in in these tests")

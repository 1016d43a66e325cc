"""The report: one HTML page on which every answer, box and failure can be looked at."""

from __future__ import annotations

from migbench.report.gathering import LabelledRun, gather
from migbench.report.page import page
from migbench.report.pictures import embedded, linked
from migbench.report.summary import summarise

__all__ = ["LabelledRun", "embedded", "gather", "linked", "page", "summarise"]

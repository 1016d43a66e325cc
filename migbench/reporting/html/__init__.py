"""The report: one HTML page on which every answer, box and failure can be looked at."""

from __future__ import annotations

from migbench.reporting.html.gathering import LabelledRun, gather
from migbench.reporting.html.page import page
from migbench.reporting.html.pictures import embedded, linked
from migbench.reporting.html.summary import summarise

__all__ = ["LabelledRun", "embedded", "gather", "linked", "page", "summarise"]

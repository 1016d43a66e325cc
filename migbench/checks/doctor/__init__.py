"""The doctor: whether a model is asked, shown images and read as it should be.

It asks the model about some forty rendered image sets, through the very path of the benchmark, and
holds the answers against the known boxes: under the declared convention and under all others, edge
by edge for a systematic shift, and image by image for mixed-up images. `finished` looks at a stored
run instead, where without known boxes only plausibility can be judged.

Here alone may a convention be held against known boxes, and only against those of rendered scenes.
Nothing is set on its own account: the verdict names the flag, and the user sets it.
"""

from migbench.checks.doctor.examine import Diagnosis, diagnose, prepare
from migbench.checks.doctor.finished import Plausibility, look_at_run
from migbench.checks.doctor.report import diagnosis_report, plausibility_report
from migbench.checks.doctor.verdict import Finding, Severity

__all__ = [
    "Diagnosis",
    "Finding",
    "Plausibility",
    "Severity",
    "diagnose",
    "diagnosis_report",
    "look_at_run",
    "plausibility_report",
    "prepare",
]

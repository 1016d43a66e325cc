"""The doctor: whether a model's prompts, images and box convention are what its declaration says.

It asks the model about some forty rendered image sets, as a run of the benchmark does, and compares
the answers with the known boxes: under every convention, edge by edge for a systematic shift, and
image by image for mixed-up images. A stored run has no known boxes; `check_stored_run` judges its
numbers alone.

Only here is a convention compared with known boxes, and only with those of rendered scenes. The
findings name the option to set; nothing is set automatically.
"""

from migbench.checks.doctor.diagnosis import Diagnosis, diagnose, prepare
from migbench.checks.doctor.findings import Finding, Severity
from migbench.checks.doctor.report import diagnosis_report, stored_run_report
from migbench.checks.doctor.stored_run import StoredRunCheck, check_stored_run

__all__ = [
    "Diagnosis",
    "Finding",
    "Severity",
    "StoredRunCheck",
    "check_stored_run",
    "diagnose",
    "diagnosis_report",
    "prepare",
    "stored_run_report",
]

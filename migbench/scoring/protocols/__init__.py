"""The protocols: how an answer becomes a box, what the truth is, and how both are measured.

A protocol is registered here once; every command, option and file that offers protocols asks
`PROTOCOLS` for them.
"""

from __future__ import annotations

from migbench.scoring.protocols import released, standard, univg
from migbench.scoring.scorer import Protocol as Protocol

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "standard",
            "the declared convention",
            standard.predict,
            standard.truth,
            reads_images=True,
        ),
        Protocol("released", "as the published evaluator scores", released.predict, released.truth),
        Protocol(
            "univg",
            "as UniVG-R1's fork of it scores",
            univg.predict,
            released.truth,
            univg.iou_in_thousandths,
        ),
    )
}
"""By name; the first is the default."""

DEFAULT_PROTOCOL = next(iter(PROTOCOLS))

"""Training beside migbench: a Migician as its authors made it, and the packaged miniature.

``records`` parses and checks conversation records, ``merging`` averages checkpoints, ``miniature``
is what made `migician-mini`. migbench never imports this package.
"""

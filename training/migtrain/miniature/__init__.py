"""Training: the recipe of the paper (section 4.3, appendix E), full-size and in miniature.

What goes in is conversation records (``records``), written in the format of MGrounding-630k, or
drawn as they are needed (``scenes``). A ``recipe`` says which of them make up a stage and in what
proportions; ``mixture`` turns that into a fixed sequence of examples, ``bucketing`` into batches,
``encoding`` into tokens and pixels. ``train`` hands these to transformers' `Trainer`, ``watching``
writes down how it goes, ``dry_run`` says beforehand whether it can. ``weights`` averages the
checkpoints that come out.

Only ``train``, ``models``, ``watching`` and ``dry_run`` need torch and transformers, and they
import them when called.
"""

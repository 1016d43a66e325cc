"""What made the packaged miniature, `migician-mini`: frozen.

MIG-Mini's training scenes are drawn as they are needed (``scenes``). A ``recipe`` says which of
them make up a training and in what proportions; ``mixture`` makes of that a fixed sequence of
examples, ``batching`` batches, ``encoding`` tokens and pixels. ``objectives`` says what is trained:
the vision encoder by ``dense_supervision``, then the language model, which
``structured_initialisation`` has begun, on answers with ``attention_supervision``. ``train`` hands
these to transformers' `Trainer`; ``ablations`` compares trainings.
"""

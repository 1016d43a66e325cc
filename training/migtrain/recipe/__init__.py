"""The authors' two stages on LLaMA-Factory: their YAML, the data that it takes, and running it.

``stages`` completes the published values by paths and overrides, ``mixtures`` says what a stage is
trained on and in which shares, ``prepare`` writes that as LLaMA-Factory reads it, ``estimate`` says
beforehand what a training needs, ``run`` starts it and holds it to its data, ``validation`` scores
the model while it is trained.
"""

"""How a model is run. Adapters know `migbench.messages` and nothing else of migbench."""

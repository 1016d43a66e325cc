"""Models behind an OpenAI-compatible server; see `model_adapters.openai.adapter`."""

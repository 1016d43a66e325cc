"""Models run in vLLM's engine, started by this process; see `adapter`."""

"""Other harnesses, as they are to us."""

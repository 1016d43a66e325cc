"""Where a run comes from: what it was made with, whether it is still what was stored, and again."""

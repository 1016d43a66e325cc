"""All that a run folder is: planned, asked, stored, shared out and joined."""

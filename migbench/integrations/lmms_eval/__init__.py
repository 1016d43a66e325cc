"""migbench's tasks in lmms-eval, and its logs in migbench. Nothing here imports lmms-eval."""

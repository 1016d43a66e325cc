"""The paper's other tables (2, 3 and 4), through lmms-eval; it is imported when a suite is run."""

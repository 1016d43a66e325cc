"""What is made of scored runs: tables, plots, pages, exports; nothing below imports it."""

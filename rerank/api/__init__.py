"""HTTP: one module per dialect, and one table from errors to statuses."""

"""HTTP: one module a dialect, and one table from errors to statuses."""

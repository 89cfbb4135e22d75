"""Routes of a request: one model, a fallback, a cascade or an ensemble, planned in pure code and then run."""

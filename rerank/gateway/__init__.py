"""Policy between API and engine: model choice, admission, cache, ranking."""

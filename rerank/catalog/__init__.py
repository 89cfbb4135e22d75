"""Models: cards, names, folders of weights, downloads."""

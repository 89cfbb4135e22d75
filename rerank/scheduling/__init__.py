"""Batches: which waiting pairs the device scores next. Knows no tensors and no HTTP."""

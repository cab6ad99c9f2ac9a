"""Data sets and what is done to their samples before the model sees them."""

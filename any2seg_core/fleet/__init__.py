"""Many recordings: an index of them, what a model makes of each, and questions about all of it."""

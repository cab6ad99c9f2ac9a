"""Models of other programs, whole, as checkpoints of this one."""

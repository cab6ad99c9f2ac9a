"""Names: sensors, classes, the contract of a checkpoint, topics, conditions."""

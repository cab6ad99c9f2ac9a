"""Units. Times inside the core are integer nanoseconds."""

NS_PER_S = 1_000_000_000

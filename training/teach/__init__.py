"""``any2seg teach``: recordings and a camera model in, a model of all sensors and a report of what it learned out."""

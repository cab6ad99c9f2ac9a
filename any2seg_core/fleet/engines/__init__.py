"""What runs the tasks of an evaluation: processes of this machine, or a Ray cluster."""

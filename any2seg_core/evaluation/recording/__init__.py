"""Scores of a recording: the sets and planes of the node in virtual time, every sensor subset."""

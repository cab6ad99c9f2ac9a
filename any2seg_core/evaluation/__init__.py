"""Metrics, missing-sensor evaluation and reports."""

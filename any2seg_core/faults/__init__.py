"""Sensor faults on recorded messages: one implementation for offline evaluation, live replay and simulated drive."""

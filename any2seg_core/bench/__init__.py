"""What this program takes on the user's machine: time and memory of its parts, beside those of others."""

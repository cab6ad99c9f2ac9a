"""The command line: options in, tables, JSON and files out."""

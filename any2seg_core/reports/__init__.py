"""What people look at after a run: HTML pages, charts, tables of scores."""

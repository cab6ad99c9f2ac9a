"""A web page that shows recordings: what a fleet's store knows of them, and any moment decoded from the bag."""

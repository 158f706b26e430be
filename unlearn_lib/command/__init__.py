"""The commands: running the lessons, making a site of them."""

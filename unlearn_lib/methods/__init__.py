"""The methods, one paper a file. Each is a generator function that copies the model first."""

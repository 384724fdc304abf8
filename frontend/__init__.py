"""Ways into the project: each turns a file or Python calls into a module."""

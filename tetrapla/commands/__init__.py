"""The command line's commands; each file's heavy imports are inside its functions."""

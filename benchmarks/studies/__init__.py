"""Studies of quality and of faults; each file is a command."""

"""What a run will do, settled and checked before any work."""

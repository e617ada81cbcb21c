"""Files on any storage."""

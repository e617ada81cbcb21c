"""From a map to a mask."""

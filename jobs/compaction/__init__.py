"""Files of results made for queries: few and large, scores apart from maps."""

"""Classification networks: by name or from files, on a device, in a precision."""

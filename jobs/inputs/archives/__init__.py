"""Images within archives: tar shards, Parquet and Arrow files; what each holds, and how its members are read."""

"""The jobs that are submitted to Ray; each file with a `main` is a command (`python -m jobs.NAME`)."""

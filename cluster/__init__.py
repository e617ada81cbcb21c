"""Where the job runs."""

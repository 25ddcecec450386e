"""What several test modules use: media, models and folders that tests make, and processes with limits."""

"""General helpers: file writing, hashing, background jobs, the Keras import, numbers, versions."""

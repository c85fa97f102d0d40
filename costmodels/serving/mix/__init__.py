"""Which GPUs serve a histogram of requests: counts of types, after Mélange."""

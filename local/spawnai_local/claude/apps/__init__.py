"""Small real apps, as files: what the simulated Claude answers with."""

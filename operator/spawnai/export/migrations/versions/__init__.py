"""One file per change of the tables, the oldest first."""

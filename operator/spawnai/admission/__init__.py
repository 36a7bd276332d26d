"""Who may begin now, and who waits for what. Pure: no clock, no I/O."""

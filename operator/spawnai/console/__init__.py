"""`spawnai console`: REST, live updates and one web page, with no rights of its own."""

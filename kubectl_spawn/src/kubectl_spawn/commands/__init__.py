"""One file per command. `cli.py` imports a file when its command is called."""

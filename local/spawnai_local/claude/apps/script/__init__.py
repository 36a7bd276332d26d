"""Scripts: each file is shipped as main.py of an app and runs by itself."""

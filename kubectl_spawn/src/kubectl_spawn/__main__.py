"""`python -m kubectl_spawn`."""

from kubectl_spawn.cli import main

main()

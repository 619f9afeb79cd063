"""The command line ``cflex``: one module per command, each with a function ``run(options, run)``."""

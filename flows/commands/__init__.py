"""The subcommands of `augment`, one module each."""

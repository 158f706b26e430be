"""The command `unlearn`, one module a subcommand; `main` lists them."""

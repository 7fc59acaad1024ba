"""The subcommands of `semiseg NAME`, one module each; `commands` lists them."""

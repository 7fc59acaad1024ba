"""One command for everything: `semiseg NAME ARGUMENTS...`, from any folder."""

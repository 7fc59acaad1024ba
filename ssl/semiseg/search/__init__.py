"""Search for the best settings of a method: spaces, the study's journal, which stage next, the command and its report."""

"""What is written to disk: files that are whole or not there, run folders, checkpoints, single files of arrays."""

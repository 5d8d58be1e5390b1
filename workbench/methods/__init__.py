"""What can be asked about a prompt: a folder for each family of methods."""

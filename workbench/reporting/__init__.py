"""What is found, outside of the terminal: figures as files, steps as commands, sessions as reports and side by side."""

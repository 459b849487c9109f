"""The command line: the only room that prints, exits, and reads argv or the environment."""

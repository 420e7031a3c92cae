"""What each command of the command line does, as functions that return an `Answer`."""
